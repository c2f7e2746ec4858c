"""One rank's part of training a model of text: the loop, the plan and the checkpoints of encoders, over rows of text.

What is judged in validation is the likelihood of the held-out answers, under prompts that are trained on: generating
for every validation would cost more than the training.
"""

import tempfile

import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.feed.stream import buckets_held
from ray_userrep.generative.lexicon import LEXICON, Lexicon
from ray_userrep.generative.likelihood import TextLikelihood
from ray_userrep.generative.model import TextModel, build_text_model
from ray_userrep.generative.rows import TextCorpus, WholeRows, Writer
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.best import keep_best_of_ranks
from ray_userrep.training.callbacks import Sink
from ray_userrep.training.fit import EngineFactory, Goal, export, train
from ray_userrep.training.loop import TrainState
from ray_userrep.training.step import TrainModel
from ray_userrep.training.trackers import tracked
from ray_userrep.training.validation import LIKELIHOOD, likelihood_metrics

MODEL = "model"  # the folder in a run
_VALIDATED = 2000  # rows


def fit_text(
    recipe: Recipe,
    corpus: Corpus,
    run_uri: str,
    make_engine: EngineFactory,
    on_record: Sink,
) -> TrainState:
    """Train, resuming from the run's newest checkpoint, and export the best model to `<run>/model`.

    The run's lexicon must have been learned before.
    """
    lexicon = Lexicon.load(storage.join(run_uri, LEXICON))
    split = resolve(recipe.split, corpus, recipe.stream.user_share)
    writer = Writer(lexicon, recipe.generative, recipe.stream, recipe.seed)
    texts = TextCorpus(corpus, split, writer, recipe.generative, buckets_held(recipe.stream))
    torch.manual_seed(recipe.seed)
    model = build_text_model(recipe.generative, recipe.stream, lexicon.vocabulary)
    engine = make_engine(TrainModel(model, TextLikelihood(), recipe.train))

    def held_out(number: int) -> Sequences:
        return sequences_of(texts.held_out("valid", number))

    valid = Sequences.sample(held_out, corpus.manifest.num_buckets, _VALIDATED)
    goal = Goal(
        cut=WholeRows(),
        data=split.fingerprint(corpus.manifest, False),
        metric=LIKELIHOOD,
        measure=lambda: likelihood_metrics(engine, valid),
        keep_best=lambda: keep_best_of_ranks(engine, run_uri),
    )
    with tracked(recipe, run_uri, on_record, engine.rank == 0) as record:
        state = train(recipe, texts, run_uri, engine, goal, record)
    export(engine, run_uri, MODEL)
    engine.barrier()
    return state


def load_text_model(run_uri: str) -> TextModel:
    """The model that a run exported, ready to generate."""
    with tempfile.TemporaryDirectory() as folder:
        storage.download_dir(storage.join(run_uri, MODEL), folder)
        model: TextModel = TextModel.from_pretrained(folder)
        return model.eval()
