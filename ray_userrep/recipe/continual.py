"""Which tasks an encoder learns one after the other, and by which methods.

Each next-item task is trained as `recipe.train` and `recipe.stream` say, each attribute as `recipe.transfer` says: the
same for all methods, which makes them comparable, and best for none of them.
"""

from typing import Literal

from pydantic import Field, model_validator

from ray_userrep.recipe.settings import Settings
from ray_userrep.recipe.transfer import (
    AttributeTaskConfig,
    CrossDomainTaskConfig,
    NextItemTaskConfig,
    TableTaskConfig,
    TaskConfig,
)

MethodName = Literal["conure", "in_turn", "fine_all", "head_only", "single", "multi_task"]


class ContinualTaskConfig(Settings):
    """A place in the sequence: next items, or one or more attributes in turn."""

    task: TaskConfig = Field(default_factory=AttributeTaskConfig)
    corpus: str | None = Field(None, description="prepared corpus that it is about; none: the recipe's")


def _next_item_first() -> tuple[ContinualTaskConfig, ...]:
    return (ContinualTaskConfig(task=NextItemTaskConfig()), ContinualTaskConfig())


class ContinualConfig(Settings):
    """A sequence of tasks, and the methods that learn it."""

    tasks: tuple[ContinualTaskConfig, ...] = Field(
        default_factory=_next_item_first, min_length=1, description="in the order in which they are learned"
    )
    methods: tuple[MethodName, ...] = Field(
        ("conure", "in_turn", "fine_all", "head_only", "single", "multi_task"),
        min_length=1,
        description="pruned masks; one encoder fine-tuned in turn; the first task's fine-tuned anew for each task; "
        "heads on the first task's; a model for each task; one encoder, in which all tasks so far train together",
    )
    num_seeds: int = Field(1, ge=1, le=10_000, description="runs of the sequence, from recipe.seed on")
    prune: float = Field(0.7, gt=0, lt=1, description="conure: share of a layer's free weights that a task gives back")
    retrain: float = Field(0.5, gt=0, description="conure: epochs after pruning over those before it")

    @model_validator(mode="after")
    def _distinct(self) -> "ContinualConfig":
        if len(set(self.methods)) != len(self.methods):
            raise ValueError("continual.methods names one of them twice")
        if any(isinstance(one.task, TableTaskConfig) for one in self.tasks):
            raise ValueError(
                "continual.tasks takes no labels of one's own (kind labels): put them into the log's table of users, "
                "and name its column as an attribute"
            )
        if any(isinstance(one.task, CrossDomainTaskConfig) for one in self.tasks):
            raise ValueError("continual.tasks learns from one log at a time: kind cross_domain is for transfer")
        return self
