"""Ratings in another domain as an objective: what biases leave over of them, from user vectors and factors of items.

The factors are tables that were made before and stay as they are; only a head learns to bring users there, and the
encoder, where an arm trains it. Users with nothing to train on are passed over.

Shapes: B users, U users who are trained on, by rising hash, R their ratings, F numbers of a user vector, D factors.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.factors import Floats
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, identity_gather
from ray_userrep.transfer.read_once import ReadOnce
from ray_userrep.transfer.tasks.rated import Lists

_OF, _ITEM, _LEFT = "rating_of", "rating_item", "rating_left"


class KnownRatings(NamedTuple):
    """Stable hashes of users, the items that each rated, what is left of the ratings, and the factors of all items."""

    users_U: NDArray[np.int64]
    rated: Lists
    left_R: Floats
    items_VD: Floats


class RatingHead(nn.Sequential):
    """A linear layer, or one behind a hidden layer, that starts at zero: at first all is as the biases have it."""

    def __init__(self, num_inputs: int, hidden: int, width: int) -> None:
        layers = [nn.Linear(num_inputs, hidden), nn.GELU()] if hidden else []
        super().__init__(*layers, last := nn.Linear(hidden or num_inputs, width))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


class UserRatings(ReadOnce):
    """The squared error of what biases leave over of a rating, which the product of two vectors predicts."""

    parts = ("rating",)
    items_VD: Tensor

    def __init__(
        self,
        known: KnownRatings,
        head: nn.Module,
        read: Callable[[UserEncoder], NDArray[np.float64]],
        until_U: NDArray[np.int64],
    ) -> None:
        super().__init__(read, until_U)
        self.head, self._known = head, known
        self.register_buffer("items_VD", torch.from_numpy(known.items_VD).float(), persistent=False)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with what is left of their users' ratings."""
        users_B = batch.users_B.numpy()
        place_B = np.searchsorted(self._known.users_U, users_B).clip(max=len(self._known.users_U) - 1)
        is_known_B = self._known.users_U[place_B] == users_B
        of_R, place_R = self._known.rated.of(place_B, is_known_B)
        items_R, left_R = self._known.rated.values_N[place_R], self._known.left_R[place_R].astype(np.float32)
        columns = {_OF: of_R, _ITEM: items_R, _LEFT: left_R}
        labels = {name: torch.from_numpy(column) for name, column in columns.items()}
        labels |= self.places(torch.from_numpy(place_B), torch.from_numpy(is_known_B))
        return [replace(batch, labels=batch.labels | labels)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.tensor([len(view.labels[_OF]) * view.weight])

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        mapped_BD = self.head(self.vectors(encoder, view)).float()
        told_R = (mapped_BD[view.labels[_OF]] * self.items_VD[view.labels[_ITEM]]).sum(1)
        return LossSum((((view.labels[_LEFT] - told_R) ** 2).sum() * view.weight)[None])

    @torch.no_grad()
    def mapped(self, vectors_UF: NDArray[np.float64]) -> Floats:
        """Users brought to the factors' space, `[U, D]`."""
        inputs_UF = torch.from_numpy(vectors_UF).to(self.items_VD)
        return self.head(inputs_UF).cpu().numpy().astype(np.float64)
