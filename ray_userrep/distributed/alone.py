"""One worker of a job that has joined no Ray: the job trains by itself, with the bare loop.

A worker group is two more processes that import everything once more before the first step. Nothing restarts this one
when it is killed; the same command goes on from the last checkpoint, whose files are the same either way. Several
workers, GPUs, partitioned states and a Ray that was there before are a worker group's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.notes import say_first
from ray_userrep.distributed.places import needs_workers, num_threads
from ray_userrep.logs.connection import is_alone
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.callbacks import Record, Sink, tell_all
from ray_userrep.training.fit import fit
from ray_userrep.training.step import TrainModel


def trains_alone(recipe: Recipe) -> bool:
    """Whether the job needs no workers beside itself."""
    return is_alone() and not needs_workers(recipe.train)


def fit_alone(recipe: Recipe, corpus: Corpus, run_uri: str, on_record: Sink) -> None:
    """Train in this process, on as many cores as a worker would have.

    Raises:
        UserError: training was refused or diverged.
    """
    say_first(recipe, corpus, use_gpu=False)
    sinks = {"the console": on_record}

    def tell(record: Record) -> None:
        tell_all(sinks, record)

    def engine(model: TrainModel[Any]) -> BareEngine:
        return BareEngine(model, recipe.train, torch.device("cpu"))

    with _threads(num_threads(recipe.train)):
        if recipe.generates:
            from ray_userrep.generative.fit import fit_text  # seconds of imports that encoders do not need

            fit_text(recipe, corpus, run_uri, engine, tell)
        else:
            fit(recipe, corpus, run_uri, engine, tell)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """So many threads of torch inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
