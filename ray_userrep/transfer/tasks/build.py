"""From a transfer's config to its tasks, over a corpus and the side columns that an encoder reads."""

from collections.abc import Sequence
from typing import Literal

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import read_known
from ray_userrep.recipe.corpus import SplitConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import ObjectiveConfig
from ray_userrep.recipe.transfer import (
    AttributeTaskConfig,
    LabelTaskConfig,
    NextItemTaskConfig,
    TableTaskConfig,
    TransferConfig,
)
from ray_userrep.transfer.tasks.attribute import AttributeTask, read_attribute_tasks
from ray_userrep.transfer.tasks.dated import read_dated_task
from ray_userrep.transfer.tasks.next_item import NextItemTask
from ray_userrep.transfer.tasks.returning import read_return_task


def read_tasks(
    config: TransferConfig,
    corpus: Corpus,
    split: SplitConfig,
    objective: ObjectiveConfig,
    evaluation: EvaluationConfig,
    windows: Literal["last", "tile", "random"],
    side: Sequence[str],
) -> list[AttributeTask] | list[NextItemTask]:
    """The tasks; labels are read from histories under the recipe's split, next items under the task's own.

    Raises:
        UserError: the corpus lacks what a task needs; the message names it.
    """
    if isinstance(config.task, LabelTaskConfig):
        return read_label_tasks(config, corpus, split, side)
    assert isinstance(config.task, NextItemTaskConfig)
    return [NextItemTask(corpus, side, config.task, objective, evaluation, windows)]


def read_label_tasks(
    config: TransferConfig, corpus: Corpus, split: SplitConfig, side: Sequence[str]
) -> list[AttributeTask]:
    """The tasks that predict labels of users.

    Raises:
        UserError: the corpus lacks what a task needs; the message names it.
    """
    rule = resolve(split, corpus)
    if isinstance(config.task, TableTaskConfig):
        return [read_dated_task(corpus, rule, config, side)]
    histories = read_known(corpus, rule, side)
    if isinstance(config.task, AttributeTaskConfig):
        return read_attribute_tasks(corpus, rule, histories, config)
    return [read_return_task(corpus, rule, histories, config)]
