"""The figures of a transfer as `result.json` holds them: metrics with intervals, costs, and arms beside scratch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.intervals import Interval
from ray_userrep.recipe import Recipe
from ray_userrep.training.transfer import Outcome
from ray_userrep.transfer.compare import estimate, paired, verdict
from ray_userrep.transfer.tasks.base import Task, headline

Result = dict[str, Any]


class Comparison(NamedTuple):
    """A task's fits by label share and arm, one outcome a seed, what baselines predict, and what became of encoders."""

    task: Task
    outcomes: dict[float, dict[str, list[Outcome]]]
    baselines: dict[float, dict[str, NDArray[np.float64]]]
    kept: Result | None
    look_alikes: dict[str, dict[str, Interval]]


def task_figures(compared: Comparison, recipe: Recipe) -> Result:
    """A task's figures by label share."""
    task = compared.task
    return {
        "headline": headline(task),
        "kept": compared.kept,
        "look_alikes": {
            name: {metric: found._asdict() for metric, found in row.items()}
            for name, row in compared.look_alikes.items()
        },
        "measures": list(task.measures),
        "users": {"valid": task.num_users("valid"), "test": task.num_users("test")},
        "shares": {f"{share:g}": _at_share(compared, share, recipe) for share in compared.outcomes},
    }


def _at_share(compared: Comparison, share: float, recipe: Recipe) -> Result:
    task, arms = compared.task, compared.outcomes[share]
    predicted = {name: [outcome.predicted_U for outcome in found] for name, found in arms.items()}
    baselines = {name: [found] for name, found in compared.baselines[share].items()}
    config, truth_U = recipe.evaluation, task.truth("test")
    metrics = {
        name: {
            metric: estimate(measure, truth_U, found, config.num_bootstrap, config.confidence)
            for metric, measure in task.measures.items()
        }
        for name, found in (predicted | baselines).items()
    }
    return {
        "train_users": task.num_users("train", share),
        "metrics": {name: {metric: i._asdict() for metric, i in row.items()} for name, row in metrics.items()},
        "baselines": list(baselines),
        "cost": {name: _cost(found) for name, found in arms.items()},
        "over_scratch": dict(_over_scratch(task, predicted, metrics, recipe)),
    }


def _over_scratch(
    task: Task, predicted: dict[str, list[NDArray[Any]]], metrics: dict[str, dict[str, Any]], recipe: Recipe
) -> Iterator[tuple[str, Result]]:
    """Each arm beside scratch, where that is among them."""
    config, metric = recipe.evaluation, headline(task)
    for name in predicted if "scratch" in predicted else ():
        if name != "scratch":
            scratch = predicted["scratch"]
            measure, truth_U = task.measures[metric], task.truth("test")
            difference = paired(measure, truth_U, predicted[name], scratch, config.num_bootstrap, config.confidence)
            words = verdict(metrics[name][metric], metrics["scratch"][metric], difference)
            yield name, {**difference._asdict(), "verdict": words}


def _cost(found: list[Outcome]) -> Result:
    """Parameters of an arm, and the mean steps and seconds of a seed with all that was tried."""
    return {
        **found[0].size._asdict(),
        "trained_share": found[0].size.trained_share,
        "steps": float(np.mean([outcome.steps for outcome in found])),
        "seconds": float(np.mean([outcome.seconds for outcome in found])),
        "learning_rates": [outcome.learning_rate for outcome in found],
        "readouts": [outcome.readout for outcome in found],
        "usage": {
            block: np.mean([outcome.usage[block] for outcome in found], axis=0).tolist() for block in found[0].usage
        },
    }
