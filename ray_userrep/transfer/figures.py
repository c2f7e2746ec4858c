"""The figures of a transfer as `result.json` holds them: metrics with intervals, costs, and arms beside scratch.

Shapes: U test users.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.statistics import Interval, Predictions, estimate, paired, transfer_verdict
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.transfer.fit import Outcome
from ray_userrep.transfer.tasks.attribute import AttributeTask
from ray_userrep.transfer.tasks.base import Task, headline, headline_sign
from ray_userrep.transfer.tasks.fusion import COLUMNS, FUSED

Result = dict[str, Any]
Metrics = dict[str, dict[str, Interval]]


class Comparison(NamedTuple):
    """A task's fits by label share and arm, one outcome a seed, what baselines predict, and what became of encoders.

    `fusion` is what trees on own columns and on the vector predict, by label share; empty where nobody asked.
    """

    task: Task
    outcomes: dict[float, dict[str, list[Outcome]]]
    baselines: dict[float, dict[str, NDArray[np.float64]]]
    fusion: dict[float, dict[str, NDArray[np.float64]]]
    kept: Result | None
    look_alikes: dict[str, dict[str, Interval]]


def task_figures(compared: Comparison, recipe: Recipe) -> Result:
    """A task's figures by label share, and at the largest one by how much is known of the users."""
    task, config = compared.task, recipe.evaluation
    thin = task.thin_users() if isinstance(task, AttributeTask) else {}
    return {
        "headline": headline(task),
        "kept": compared.kept,
        "look_alikes": {
            name: {metric: found._asdict() for metric, found in row.items()}
            for name, row in compared.look_alikes.items()
        },
        "measures": list(task.measures),
        "smaller_is_better": [name for name, measure in task.measures.items() if measure.sign < 0],
        "users": {"valid": task.num_users("valid"), "test": task.num_users("test")} | thin,
        "fusion": _fusion(compared, config),
        "shares": {f"{share:g}": _at_share(compared, share, config) for share in compared.outcomes},
        "activity": dict(_by_activity(compared, max(compared.outcomes), config)),
    }


def _at_share(compared: Comparison, share: float, config: EvaluationConfig) -> Result:
    task, arms, predicted = compared.task, compared.outcomes[share], _predicted(compared, share)
    metrics = _metrics(task, predicted, np.arange(task.num_users("test")), config)
    return {
        "train_users": task.num_users("train", share),
        "metrics": _plain(metrics),
        "baselines": list(compared.baselines[share]),
        "validation": {name: float(np.mean([one.validation for one in found])) for name, found in arms.items()},
        "cost": {name: _cost(found) for name, found in arms.items()},
        "over_scratch": dict(_over_scratch(compared, share, metrics, np.arange(task.num_users("test")), config)),
    }


def _fusion(compared: Comparison, config: EvaluationConfig) -> Result | None:
    """What the frozen vector adds to the columns that are there anyway, in trees, by label share."""
    task = compared.task
    if not compared.fusion:
        return None
    assert isinstance(task, AttributeTask)
    measure, truth_U = task.measures[headline(task)], task.truth("test")
    shares = {}
    for share, predicted in compared.fusion.items():
        by_name = {name: [found] for name, found in predicted.items()}
        metrics = _metrics(task, by_name, np.arange(len(truth_U)), config)
        both, without = by_name[FUSED], by_name[COLUMNS]
        added = paired(measure, truth_U, both, without, config.num_bootstrap, config.confidence)
        shares[f"{share:g}"] = {"metrics": _plain(metrics), "over_columns": added._asdict()}
    return {"columns": list(task.columns), "shares": shares}


def _by_activity(compared: Comparison, share: float, config: EvaluationConfig) -> Iterator[tuple[str, Result]]:
    """The same for the half of the test users of whom least is known, and for the others."""
    known_U = compared.task.activity("test")
    middle = int(np.median(known_U))
    halves = {f"up to {middle:,} interactions": known_U <= middle, "more": known_U > middle}
    for name, is_there_U in halves.items():
        if 0 < is_there_U.sum() < len(known_U):
            rows = np.flatnonzero(is_there_U)
            metrics = _metrics(compared.task, _predicted(compared, share), rows, config)
            over_scratch = dict(_over_scratch(compared, share, metrics, rows, config))
            yield name, {"users": len(rows), "metrics": _plain(metrics), "over_scratch": over_scratch}


def _predicted(compared: Comparison, share: float) -> dict[str, Predictions]:
    """What arms and baselines predict of the test users, by seed."""
    arms = {name: [one.predicted_U for one in found] for name, found in compared.outcomes[share].items()}
    return {**arms, **{name: [found] for name, found in compared.baselines[share].items()}}


def _metrics(
    task: Task, predicted: Mapping[str, Predictions], rows: NDArray[np.int64], config: EvaluationConfig
) -> Metrics:
    """Each system's figures over these rows of the test users."""
    truth_U = task.truth("test")[rows]
    return {
        name: {
            metric: estimate(measure, truth_U, [one[rows] for one in found], config.num_bootstrap, config.confidence)
            for metric, measure in task.measures.items()
        }
        for name, found in predicted.items()
    }


def _over_scratch(
    compared: Comparison, share: float, metrics: Metrics, rows: NDArray[np.int64], config: EvaluationConfig
) -> Iterator[tuple[str, Result]]:
    """Each arm beside scratch over these rows of the test users, where scratch is among the arms."""
    task, metric = compared.task, headline(compared.task)
    measure, truth_U = task.measures[metric], task.truth("test")[rows]
    predicted = {name: [one.predicted_U[rows] for one in found] for name, found in compared.outcomes[share].items()}
    for name in predicted if "scratch" in predicted else ():
        if name != "scratch":
            scratch = predicted["scratch"]
            difference = paired(measure, truth_U, predicted[name], scratch, config.num_bootstrap, config.confidence)
            both = metrics[name][metric], metrics["scratch"][metric]
            words = transfer_verdict(*both, difference, headline_sign(task))
            yield name, {**difference._asdict(), "verdict": words}


def _plain(metrics: Metrics) -> Result:
    return {name: {metric: found._asdict() for metric, found in row.items()} for name, row in metrics.items()}


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
