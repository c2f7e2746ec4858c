"""From a transfer's config to its tasks, over a corpus and the side columns that an encoder reads."""

from collections.abc import Sequence
from typing import Literal, assert_never

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import read_known
from ray_userrep.recipe.corpus import SplitConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import ObjectiveConfig
from ray_userrep.recipe.transfer import (
    AttributeTaskConfig,
    CrossDomainTaskConfig,
    NextCategoryTaskConfig,
    NextItemTaskConfig,
    ReturnTaskConfig,
    TableTaskConfig,
    TransferConfig,
)
from ray_userrep.transfer.tasks.attribute import AttributeTask, read_attribute_tasks
from ray_userrep.transfer.tasks.cross_domain import CrossDomainTask, read_cross_domain
from ray_userrep.transfer.tasks.dated import read_dated_task
from ray_userrep.transfer.tasks.next_category import read_next_category_task
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
    target: Corpus | None = None,
) -> list[AttributeTask] | list[NextItemTask] | list[CrossDomainTask]:
    """The tasks; labels are read from histories under the recipe's split, next items under the task's own.

    A `target` is the log of another domain, where there is one.

    Raises:
        UserError: the corpus lacks what a task needs; the message names it.
    """
    match config.task:
        case AttributeTaskConfig() | ReturnTaskConfig() | NextCategoryTaskConfig() | TableTaskConfig():
            return read_label_tasks(config, corpus, split, side)
        case CrossDomainTaskConfig() as task:
            assert target is not None, "the recipe names it"
            return [read_cross_domain(corpus, target, resolve(split, corpus), task, side)]
        case NextItemTaskConfig() as task:
            return [NextItemTask(corpus, side, task, objective, evaluation, windows)]
        case never:
            assert_never(never)


def read_label_tasks(
    config: TransferConfig, corpus: Corpus, split: SplitConfig, side: Sequence[str]
) -> list[AttributeTask]:
    """The tasks that predict labels of users.

    Raises:
        UserError: the corpus lacks what a task needs; the message names it.
    """
    rule = resolve(split, corpus)
    match config.task:
        case AttributeTaskConfig():
            return read_attribute_tasks(corpus, rule, read_known(corpus, rule, side), config)
        case ReturnTaskConfig():
            return [read_return_task(corpus, rule, read_known(corpus, rule, side), config)]
        case NextCategoryTaskConfig():
            return [read_next_category_task(corpus, rule, read_known(corpus, rule, side), config)]
        case TableTaskConfig():
            return [read_dated_task(corpus, rule, config, side)]
        case NextItemTaskConfig() | CrossDomainTaskConfig():
            raise AssertionError("a task of items has no labels")
        case never:
            assert_never(never)
