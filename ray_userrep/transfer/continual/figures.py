"""The figures of a sequence of tasks as `result.json` holds them.

Shapes: N tasks, S seeds, U users.
"""

from typing import Any, Literal

import numpy as np

from ray_userrep.evaluation.statistics import Predictions, estimate, paired
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.transfer.continual.fit import Learned
from ray_userrep.transfer.continual.masks import used
from ray_userrep.transfer.continual.methods import Stage
from ray_userrep.transfer.tasks.base import headline

Result = dict[str, Any]
_PARTS: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")


def task_figures(stage: Stage, config: EvaluationConfig) -> Result:
    """What is the same for all methods: how a task is measured, on whom, and what simple baselines reach."""
    task = stage.task
    baselines = task.baselines(1.0) if config.baselines else {}
    return {
        "headline": headline(task),
        "corpus": stage.catalogue,
        "users": {part: task.num_users(part) for part in _PARTS},
        "baselines": {name: _estimated(stage, [predicted_U], config) for name, predicted_U in baselines.items()},
    }


def method_figures(stages: list[Stage], found: list[list[Learned]], config: EvaluationConfig) -> Result:
    """A method's figures over seeds.

    `matrix` has a row for each task and a column for each time, null before the task was learned; `unchanged` says
    whether all that was predicted then is bit for bit what was predicted when the task was learned.
    """
    matrix = [
        [_cell(stages[task], found, task, time, config) if time >= task else None for time in range(len(stages))]
        for task in range(len(stages))
    ]
    means = [[cell["mean"] for cell in row if cell is not None] for row in matrix]
    return {
        "matrix": matrix,
        "unchanged": [
            [_unchanged(found, task, time) if time >= task else None for time in range(len(stages))]
            for task in range(len(stages))
        ],
        "forgetting": [max(row) - row[-1] for row in means],
        "used": [used(learned.kept.owners) for learned in found[0]],
        "steps": [float(np.mean([learned[task].steps for learned in found])) for task in range(len(stages))],
        "seconds": [float(np.mean([learned[task].seconds for learned in found])) for task in range(len(stages))],
    }


def over_single(
    stages: list[Stage], learned: dict[str, list[list[Learned]]], config: EvaluationConfig
) -> dict[str, list[Result]]:
    """Each method's tasks at the end beside a model for each task, paired over users and seeds, where that is there."""
    if "single" not in learned:
        return {}
    return {
        name: [_difference(stage, task, found, learned["single"], config) for task, stage in enumerate(stages)]
        for name, found in learned.items()
        if name != "single"
    }


def _cell(stage: Stage, found: list[list[Learned]], task: int, time: int, config: EvaluationConfig) -> Result:
    return _estimated(stage, [learned[time].predicted[task] for learned in found], config)


def _estimated(stage: Stage, predicted_S: Predictions, config: EvaluationConfig) -> Result:
    measure, truth_U = stage.task.measures[headline(stage.task)], stage.task.truth("test")
    return estimate(measure, truth_U, predicted_S, config.num_bootstrap, config.confidence)._asdict()


def _unchanged(found: list[list[Learned]], task: int, time: int) -> bool:
    return all(np.array_equal(learned[time].predicted[task], learned[task].predicted[task]) for learned in found)


def _difference(
    stage: Stage, task: int, found: list[list[Learned]], single: list[list[Learned]], config: EvaluationConfig
) -> Result:
    measure, truth_U = stage.task.measures[headline(stage.task)], stage.task.truth("test")
    ours, theirs = ([learned[-1].predicted[task] for learned in runs] for runs in (found, single))
    return paired(measure, truth_U, ours, theirs, config.num_bootstrap, config.confidence)._asdict()
