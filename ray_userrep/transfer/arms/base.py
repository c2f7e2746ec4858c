"""What an arm is: one way to adapt a pretrained encoder, in what it adds and in what it trains.

An arm has no loop. What it does not train is not given to the optimiser, which keeps it bit for bit.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch

from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.objectives.base import Objective
from ray_userrep.transfer.tasks.base import HeadShape, Task

Usage = dict[str, list[float]]
"""By block: the mean share of its trained copy that users take, and the standard deviation between users."""


class Arm(ABC):
    """A way to adapt an encoder, with what it asks for between that and a task."""

    name: str
    head: HeadShape = HeadShape()
    mergeable: bool = True  # whether the adapted encoder can be written as the plain one

    @abstractmethod
    def apply(self, encoder: UserEncoder) -> UserEncoder:
        """An adapted copy, which starts where the encoder is unless the arm says otherwise.

        Raises:
            UserError: the arm has no place in such an encoder.
        """

    @abstractmethod
    def trainable(self, name: str) -> bool:
        """Whether a parameter of the adapted encoder trains, by its name."""

    def merged(self, adapted: UserEncoder) -> UserEncoder:
        """The adapted encoder in the plain one's weights, for arms that are `mergeable`; `adapted` is used up."""
        assert self.mergeable
        return adapted

    def watching(self, adapted: UserEncoder) -> AbstractContextManager[Usage]:
        """What the arm does for each user while inside; known at the end, empty where it treats all alike."""
        return nullcontext({})


class ParameterCounts(NamedTuple):
    """Numbers of parameters: of encoder and head together, those that the arm added, those that train, the head's."""

    total: int
    added: int
    trained: int
    head: int

    @property
    def trained_share(self) -> float:
        """Trained parameters over all of them."""
        return self.trained / max(1, self.total)


def copied(encoder: UserEncoder) -> UserEncoder:
    """The same weights over the same catalogue, as tensors of their own."""
    assert encoder.item_table is not None
    return encoder.with_items(encoder.item_table)


def freeze(encoder: UserEncoder, arm: Arm, task: Task) -> None:
    """Leave to the optimiser what the arm or the task's head trains, and nothing else.

    Raises:
        UserError: the items are a table of rows that train past the optimiser, and should not.
    """
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(arm.trainable(name) or task.trains(name))
    frozen_rows = isinstance(encoder.items, RowItems) and not (arm.trainable("items.weight") or task.trains("items."))
    if frozen_rows:
        raise UserError(f"transfer.arms {arm.name} freezes the items, which encoder.items.kind rows cannot: use full")


def count_parameters(original: UserEncoder, adapted: UserEncoder, objective: Objective) -> ParameterCounts:
    """Count what an arm made of an encoder, once it is frozen."""
    encoder, head = _count(adapted), _count(objective)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    return ParameterCounts(encoder + head, encoder - _count(original), trained + head, head)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
