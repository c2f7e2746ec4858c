"""What pretraining a model of text has of its own: what is refused, the vocabulary, and what is measured.

Apart from `pretrain`, so that runs of encoders do not wait for the libraries that text alone needs.
"""

from collections.abc import Iterator

from ray_userrep import storage
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.utilisation import spent
from ray_userrep.generative.fit import MODEL
from ray_userrep.generative.lexicon import LEXICON, learn_lexicon, refuse_unanswerable
from ray_userrep.generative.result import text_result
from ray_userrep.prepare.devices import with_gpu
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.pages import text as page
from ray_userrep.training.stored import store_result
from ray_userrep.workflows.timings import places, timed


def refuse(recipe: Recipe, corpus: Corpus) -> None:
    """Refuse families of prompts that the corpus has no text for."""
    refuse_unanswerable(recipe, corpus)


def learn(recipe: Recipe, corpus: Corpus, split: Split, run_uri: str) -> None:
    """Learn the vocabulary, into the run."""
    learn_lexicon(recipe, corpus, split, storage.join(run_uri, LEXICON))


def finish(recipe: Recipe, corpus: Corpus, run_uri: str, timings: dict[str, float], began: float) -> Iterator[str]:
    """Measure the model of text and store its result; gives what is printed of it."""
    with timed(timings, "evaluate"):
        result = with_gpu(recipe.train.use_gpu, text_result, recipe, corpus, run_uri)
    result |= {"run": run_uri, "timings": timings} | spent(began)
    store_result(run_uri, result)
    yield page.printed(result)
    yield from places(run_uri, timings, MODEL)
    yield f"report    {page.draw(run_uri)}"
