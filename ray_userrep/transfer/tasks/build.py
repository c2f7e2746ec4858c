"""From a task's config to the tasks, over a corpus and the encoder's side columns."""

from typing import Literal

from ray_userrep.corpus.config import SplitConfig
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.config import EvaluationConfig
from ray_userrep.evaluation.histories import read_known
from ray_userrep.objectives.config import ObjectiveConfig
from ray_userrep.transfer.config import AttributeTaskConfig, TaskConfig
from ray_userrep.transfer.tasks.attribute import AttributeTask, read_attribute_tasks
from ray_userrep.transfer.tasks.next_item import NextItemTask


def read_tasks(
    config: TaskConfig,
    corpus: Corpus,
    encoder: UserEncoder,
    split: SplitConfig,
    objective: ObjectiveConfig,
    evaluation: EvaluationConfig,
    windows: Literal["last", "tile", "random"],
) -> list[AttributeTask] | list[NextItemTask]:
    """The tasks; attributes are read from histories under the recipe's split, next items under the task's own.

    Raises:
        UserError: the corpus lacks what a task needs; the message names it.
    """
    if isinstance(config, AttributeTaskConfig):
        rule = resolve(split, corpus)
        return read_attribute_tasks(corpus, rule, read_known(corpus, rule, encoder.side_columns), config)
    return [NextItemTask(corpus, encoder, config, objective, evaluation, windows)]
