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
from ray_userrep.transfer.bridges import LinearBridge, PersonalBridge
from ray_userrep.transfer.read_once import ReadOnce
from ray_userrep.transfer.tasks.rated import Lists

_OF, _ITEM, _LEFT = "rating_of", "rating_item", "rating_left"
_LIKES, _LIKED = "likes_of", "liked_item"
_TOWARDS, _IS_KNOWN = "towards", "is_known"


class KnownRatings(NamedTuple):
    """Stable hashes of users, the items that each rated, and what is left of the ratings.

    Beside them the items that each liked in the source domain, and the user's own factors in the other one.
    """

    users_U: NDArray[np.int64]
    rated: Lists
    left_R: Floats
    liked: Lists
    towards_UD: Floats


class RatingHead(nn.Sequential):
    """A linear layer, or one behind a hidden layer, that starts at zero: at first all is as the biases have it."""

    def __init__(self, num_inputs: int, hidden: int, width: int) -> None:
        layers = [nn.Linear(num_inputs, hidden), nn.GELU()] if hidden else []
        super().__init__(*layers, last := nn.Linear(hidden or num_inputs, width))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


class UserRatings(ReadOnce):
    """The squared error of what biases leave over of a rating, which the product of two vectors predicts.

    A linear bridge learns to hit each user's own factors instead (EMCDR). `source_VE` has the factors of source items
    where users are read from such factors, and not from the encoder; its item vectors are then not read either.
    """

    parts = ("rating",)
    items_VD: Tensor
    source_VE: Tensor | None

    def __init__(
        self,
        known: KnownRatings,
        items_VD: Floats,
        source_VE: Floats | None,
        head: nn.Module,
        read: Callable[[UserEncoder], NDArray[np.float64]],
        until_U: NDArray[np.int64],
    ) -> None:
        super().__init__(read, until_U)
        self.head, self._known = head, known
        self.of_factors = source_VE is not None
        self.register_buffer("items_VD", torch.from_numpy(items_VD).float(), persistent=False)
        liked_VE = None if source_VE is None else torch.from_numpy(source_VE).float()
        self.register_buffer("source_VE", liked_VE, persistent=False)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows with what is left of their users' ratings."""
        users_B = batch.users_B.numpy()
        place_B = np.searchsorted(self._known.users_U, users_B).clip(max=len(self._known.users_U) - 1)
        is_known_B = self._known.users_U[place_B] == users_B
        of_R, place_R = self._known.rated.of(place_B, is_known_B)
        items_R, left_R = self._known.rated.values_N[place_R], self._known.left_R[place_R].astype(np.float32)
        likes_L, place_L = self._known.liked.of(place_B, is_known_B)
        liked_L, towards_BD = self._known.liked.values_N[place_L], self._known.towards_UD[place_B].astype(np.float32)
        columns = {_OF: of_R, _ITEM: items_R, _LEFT: left_R, _LIKES: likes_L, _LIKED: liked_L, _TOWARDS: towards_BD}
        columns |= {_IS_KNOWN: is_known_B}
        labels = {name: torch.from_numpy(column) for name, column in columns.items()}
        labels |= self.places(torch.from_numpy(place_B), torch.from_numpy(is_known_B))
        return [replace(batch, labels=batch.labels | labels)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        terms = view.labels[_IS_KNOWN].sum() if isinstance(self.head, LinearBridge) else len(view.labels[_OF])
        return torch.tensor([float(terms) * view.weight])

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        vectors_BF, labels = self.vectors(encoder, view), view.labels
        mapped_BD = self._mapped(encoder, vectors_BF, labels[_LIKED], labels[_LIKES]).float()
        if isinstance(self.head, LinearBridge):
            missed_B = ((mapped_BD - labels[_TOWARDS]) ** 2).sum(1)
            return LossSum(((missed_B * labels[_IS_KNOWN]).sum() * view.weight)[None])
        told_R = (mapped_BD[labels[_OF]] * self.items_VD[labels[_ITEM]]).sum(1)
        return LossSum((((labels[_LEFT] - told_R) ** 2).sum() * view.weight)[None])

    @torch.no_grad()
    def mapped(self, encoder: UserEncoder, vectors_UF: NDArray[np.float64], liked: Lists) -> Floats:
        """Users brought to the factors' space, `[U, D]`."""
        inputs_UF = torch.from_numpy(vectors_UF).to(self.items_VD)
        likes_L, place_L = liked.of(np.arange(len(vectors_UF)))
        items = [torch.from_numpy(column).to(inputs_UF.device) for column in (liked.values_N[place_L], likes_L)]
        return self._mapped(encoder, inputs_UF, *items).cpu().numpy().astype(np.float64)

    def _mapped(self, encoder: UserEncoder, vectors_BF: Tensor, liked_L: Tensor, likes_L: Tensor) -> Tensor:
        inputs = [vectors_BF]
        if isinstance(self.head, PersonalBridge):
            inputs += [encoder.items(liked_L) if self.source_VE is None else self.source_VE[liked_L], likes_L]
        mapped_BD: Tensor = self.head(*inputs)
        return mapped_BD
