"""Warm users and items from a few of their neighbours: what a new user or item will be like once more is known of it.

A window is all that the encoder is shown of its user; the target is what everything that the user did makes of them.
One item of each window is told by some of its users alone. Both losses are half of one minus the cosine. Oracle vectors
are made once and lie in memory of every worker; rows of what is not warm are NaN, so that reading one would be seen.

Inspired by PT-GNN (Hao et al., WSDM 2021, arXiv 2012.07064, its pretraining task).

Shapes: B windows, U users with an oracle vector, V items, D width.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather

_ITEM_DRAW = 52
_USER, _IS_USER, _ITEM, _ITEM_ROW, _IS_ITEM = "oracle_user", "is_oracle_user", "oracle_item", "item", "is_oracle_item"


class Oracle(NamedTuple):
    """Users by rising hash with their vectors, and the vectors of items; rows of items that are not warm are NaN."""

    users_U: NDArray[np.int64]
    vectors_UD: NDArray[np.float32]
    items_VD: NDArray[np.float32]

    def of_users(self, users_B: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The vectors of these users, zeros where there is none, `[B, D]`, and who has one, `[B]`."""
        place_B = np.searchsorted(self.users_U, users_B).clip(max=len(self.users_U) - 1)
        is_known_B = self.users_U[place_B] == users_B
        return np.where(is_known_B[:, None], self.vectors_UD[place_B], np.float32(0)), is_known_B

    def of_items(self, items_B: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The vectors of these items, zeros where there is none, `[B, D]`, and which have one, `[B]`."""
        is_known_B = ~np.isnan(self.items_VD[items_B, 0])
        return np.where(is_known_B[:, None], self.items_VD[items_B], np.float32(0)), is_known_B


class Reconstruct(Objective):
    """Half of one minus the cosine of a user, and of an item, to its oracle vector."""

    parts = ("oracle_users", "oracle_items")
    weights = (1.0, 1.0)

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self._oracle = oracle

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with the oracle vectors of their users and of an item of each, drawn by user and place."""
        draw_B = rng.window_uniforms(_ITEM_DRAW, batch)
        item_B = batch.values_T[batch.offsets_B1[:-1].long() + (draw_B * batch.lengths()).long()]
        users = self._oracle.of_users(batch.users_B.numpy())
        items = self._oracle.of_items(item_B.numpy())
        told = zip((_USER, _IS_USER, _ITEM, _IS_ITEM), map(torch.from_numpy, (*users, *items)), strict=True)
        return [replace(batch, labels=batch.labels | dict(told) | {_ITEM_ROW: item_B})]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.stack([view.labels[name].sum() for name in (_IS_USER, _IS_ITEM)]).float() * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        user_B = encoder.backbone.credited(_distance(encoder(view), view.labels[_USER]))
        item_B = _distance(encoder.item_states(view.labels[_ITEM_ROW], view), view.labels[_ITEM])
        sums = (user_B * view.labels[_IS_USER]).sum(), (item_B * view.labels[_IS_ITEM]).sum()
        return LossSum(torch.stack(sums) * view.weight)


def _distance(vectors_BD: Tensor, oracle_BD: Tensor) -> Tensor:
    """From 0, the same direction, to 1, the opposite one, `[B]`."""
    return (1 - F.cosine_similarity(vectors_BD.float(), oracle_BD)) / 2
