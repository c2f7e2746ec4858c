"""From a log to a measured encoder, or model of text: prepare, pretrain, evaluate beside baselines, report."""

import shlex
import time
from collections.abc import Iterator

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.distributed.alone import fit_alone, trains_alone
from ray_userrep.distributed.places import needs_workers
from ray_userrep.distributed.utilisation import spent
from ray_userrep.encoder.card import CARD, model_card
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import refuse_unmeasured
from ray_userrep.logs.connection import connect, join, refuse_unshared
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result, load_result
from ray_userrep.training import runs
from ray_userrep.training.console import Console
from ray_userrep.training.fit import load_encoder, refuse_lacking
from ray_userrep.training.stored import store_result
from ray_userrep.training.trackers import refuse_uninstalled
from ray_userrep.training.warm_start import encoder_uri
from ray_userrep.workflows.prepare import open_or_prepare
from ray_userrep.workflows.timings import places, timed

_CORPUS = "corpus.json"


def run_pretrain(recipe: Recipe) -> Result:
    """Pretrain as the recipe says; leaves encoder (or model), result.json and report.html in the run, or resumes there.

    Returns the result. It is stored before its page is drawn.
    """
    recipe, run_uri = runs.named_run(with_start(recipe))
    refuse_uninstalled(recipe.train.trackers)
    began = time.monotonic()
    timings: dict[str, float] = {}
    with timed(timings, "start"):
        (connect if needs_workers(recipe.train) else join)()
    with timed(timings, "prepare"):
        corpus = corpus_of(recipe, run_uri)
    split = resolve(recipe.split, corpus, recipe.stream.user_share)
    refuse_unmeasured(corpus, split, recipe.split.rule)
    if recipe.generates:
        from ray_userrep.workflows import pretrain_text  # seconds of imports that encoders do not need

        pretrain_text.refuse(recipe, corpus)
    else:
        refuse_lacking(recipe, corpus, split)
    with runs.running(recipe, run_uri):
        remember(corpus, run_uri)
        with timed(timings, "train"), Console() as console:
            if recipe.generates:
                pretrain_text.learn(recipe, corpus, split, run_uri)
            if trains_alone(recipe):
                fit_alone(recipe, corpus, run_uri, console)
            else:
                from ray_userrep.distributed.workers import fit_distributed  # seconds of imports that it takes alone

                fit_distributed(recipe, corpus, run_uri, console)
        finished = pretrain_text.finish if recipe.generates else _finish_encoder
        told = list(finished(recipe, corpus, run_uri, timings, began))
    print("\n".join(told))
    return load_result(run_uri)


def _finish_encoder(
    recipe: Recipe, corpus: Corpus, run_uri: str, timings: dict[str, float], began: float
) -> Iterator[str]:
    """Measure the encoder and store its result; gives what is printed of it."""
    # Seconds of imports, scikit-learn and Matplotlib among them, that the first step would wait for.
    from ray_userrep.report.pages import pretrain as page
    from ray_userrep.workflows.evaluate import measure

    with timed(timings, "evaluate"):
        encoder = load_encoder(run_uri)
        result = measure(recipe, corpus, encoder, run_uri, job="pretrain")
    result = finish(run_uri, encoder, result | spent(began), timings)
    yield page.printed(result)
    yield from places(run_uri, timings, "encoder")
    yield f"report    {page.draw(run_uri)}"
    yield from _next_steps(recipe, run_uri)


def with_start(recipe: Recipe) -> Recipe:
    """The recipe with the whole place of the encoder that it starts from: workers have directories of their own."""
    if recipe.train.warm_start is None:
        return recipe
    warm = {"warm_start": encoder_uri(recipe.train.warm_start)}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=warm)})


def finish(run_uri: str, encoder: UserEncoder, result: Result, timings: dict[str, float]) -> Result:
    """Tell the encoder's card what was learned, and store the result, last: a run that has it is never begun again."""
    from ray_userrep.report.pages import pretrain as page

    result |= {"run": run_uri, "timings": timings}
    card = model_card(encoder.config, encoder.parameters_by_kind(), page.learned(result))
    storage.write_text(storage.join(run_uri, "encoder", CARD), card)
    store_result(run_uri, result)
    return result


def _next_steps(recipe: Recipe, run_uri: str) -> list[str]:
    """What to type next: vectors of all users, and a task of one's own."""
    places = {"logs": recipe.logs.uri, "corpus": recipe.corpus.uri, "encoder": run_uri}
    given = " ".join(f"--{name} {shlex.quote(place)}" for name, place in places.items() if place is not None)
    adapted = given.replace("--encoder", "--transfer.encoder")
    return [f"next      ray-userrep embed {given} --output vectors", f"          ray-userrep transfer {adapted}"]


def corpus_of(recipe: Recipe, run_uri: str) -> Corpus:
    """The corpus version that the run began with, whatever was published since; a new run's is the recipe's."""
    place = storage.join(run_uri, _CORPUS)
    if not storage.exists(place):
        return open_or_prepare(recipe)
    begun = storage.read_json(place)
    refuse_unshared(begun["uri"])
    return open_corpus(begun["uri"], begun["version"])


def remember(corpus: Corpus, run_uri: str) -> None:
    """Write down which version of which corpus a run is of."""
    storage.write_json(storage.join(run_uri, _CORPUS), {"uri": corpus.uri, "version": corpus.manifest.version})
