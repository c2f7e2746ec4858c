"""A run's figures at a tracking service, beside its folder, for those who keep all their experiments there.

The folder stays what counts: a service that goes away in the middle is told of once and left, and training goes on.
Address, key and project come from the service's own environment variables, such as `WANDB_PROJECT` or
`MLFLOW_TRACKING_URI`.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import assert_never

from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrackerKind
from ray_userrep.training.callbacks import Record, Sink, tell_all
from ray_userrep.training.records import figures


class WandB:
    """A run at Weights & Biases, the same one when it is resumed."""

    def __init__(self, run_uri: str, recipe: Recipe) -> None:
        import wandb

        self._run = wandb.init(
            id=_key(run_uri),
            name=run_uri.rsplit("/", 1)[-1],
            config=recipe.model_dump(mode="json"),
            resume="allow",
        )
        self._run.define_metric("*", step_metric="step")  # a resumed run comes by some steps again

    def __call__(self, record: Record) -> None:
        self._run.log({**figures(record), "step": record["step"]})

    def close(self, exit_code: int) -> None:
        """Have all figures there, and say how the run ended."""
        self._run.finish(exit_code)


class MLflow:
    """A run at MLflow, found again by a tag when it is resumed."""

    def __init__(self, run_uri: str, recipe: Recipe) -> None:
        import mlflow

        self._client, self._metric = mlflow.MlflowClient(), mlflow.entities.Metric
        name, tag = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ray_userrep"), "ray_userrep.run"
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        runs = self._client.search_runs([experiment], f"tags.`{tag}` = '{_key(run_uri)}'", max_results=1)
        if runs:
            self._id = runs[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            named = {tag: _key(run_uri), "mlflow.runName": run_uri.rsplit("/", 1)[-1]}
            self._id = self._client.create_run(experiment, tags=named).info.run_id
            self._client.log_dict(self._id, recipe.model_dump(mode="json"), "recipe.json")

    def __call__(self, record: Record) -> None:
        now, step = round(1000 * time.time()), record["step"]
        named = {name.replace("@", "_at_"): value for name, value in figures(record).items()}  # it takes no @
        self._client.log_batch(self._id, [self._metric(name, value, now, step) for name, value in named.items()])

    def close(self, exit_code: int) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._id, "FAILED" if exit_code else "FINISHED")


def _key(run_uri: str) -> str:
    """What a run is found again by."""
    return hashlib.sha256(run_uri.encode()).hexdigest()[:16]


def refuse_uninstalled(kinds: Sequence[TrackerKind]) -> None:
    """Check that the services' packages are there, before any work.

    Raises:
        UserError: one is not.
    """
    for kind in kinds:
        if find_spec(kind) is None:
            raise UserError(f"train.trackers {kind} needs its package: pip install 'ray_userrep[{kind}]'")


@contextmanager
def tracked(recipe: Recipe, run_uri: str, on_record: Sink, is_first: bool) -> Iterator[Sink]:
    """The sink with the recipe's services behind it, where this is the first rank.

    Raises:
        UserError: a service refuses the run, as it does without a key.
    """
    kinds = recipe.train.trackers if is_first else ()
    trackers = {kind: _open(kind, run_uri, recipe) for kind in kinds}

    def record_all(record: Record) -> None:
        on_record(record)
        tell_all(trackers, record)

    try:
        yield record_all
    finally:
        for tracker in trackers.values():
            tracker.close(int(sys.exc_info()[0] is not None))


def _open(kind: TrackerKind, run_uri: str, recipe: Recipe) -> WandB | MLflow:
    try:
        match kind:
            case "wandb":
                return WandB(run_uri, recipe)
            case "mlflow":
                return MLflow(run_uri, recipe)
            case never:
                assert_never(never)
    except Exception as error:
        raise UserError(f"train.trackers {kind} cannot begin a run: {' '.join(str(error).split())[:500]}") from error
