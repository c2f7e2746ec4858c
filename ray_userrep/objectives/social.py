"""Friends should have user vectors that are alike, and users who have nothing to do with each other others.

Each window whose user has friends is an anchor: one friend is drawn for it, and told from the other users of the global
batch, gathered over the workers with gradients. Not told from are friends, friends of friends, and users of nearly the
same profile: of these it is likely that they are alike, too. The friend's window is mostly in another batch and so is
brought along (feed/companions.py), for a second forward pass; a table of everybody's relations is held by each worker.

Inspired by UPRec (Xiao et al. 2021, arXiv 2102.10989), of which no code was at hand.

Shapes: N windows of this rank, G windows of all ranks, K anchors of this rank, A columns of a profile, D width.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.relations import NOBODY, Relations
from ray_userrep.encoder.readout import APPENDED, append_token
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.feed.companions import Companions
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.recipe.encoder import ReadoutKind

_FRIEND_DRAW = 37
_ROW, _PROFILE = "relations_row", "profile"
_ANCHOR, _IS_PAIR, _NEAR = "anchor", "is_pair", "near"


class Profiles(NamedTuple):
    """Users by rising hash, and a code of each column of their profile, 0 where it is not known, `[U, A]`."""

    users_U: NDArray[np.int64]
    codes_UA: NDArray[np.int64]

    def of(self, users_B: NDArray[np.int64]) -> NDArray[np.int64]:
        """The codes of these users, 0 of those that are not here, `[B, A]`."""
        place_B = np.searchsorted(self.users_U, users_B)
        found = np.append(self.users_U, 0)[place_B] == users_B
        padded_UA = np.concatenate([self.codes_UA, np.zeros((1, self.codes_UA.shape[1]), np.int64)])
        return padded_UA[np.where(found, place_B, len(self.users_U))]


class Society(NamedTuple):
    """What is known of users beside what they do; `companions` reads the windows of the users of the relations."""

    relations: Relations
    profiles: Profiles
    companions: Callable[[], Companions]


class SocialContrast(Objective):
    """The cross-entropy of a friend among the users of the batch to whom an anchor has no tie."""

    parts = ("social",)
    num_views = 2
    looks_across = True

    def __init__(self, society: Society, readout: ReadoutKind, temperature: float, alike: float) -> None:
        super().__init__()
        self._relations, self._profiles = society.relations, society.profiles
        self._read = society.companions
        self._readout: ReadoutKind = readout
        self._temperature, self._alike = temperature, alike

    @cached_property
    def _companions(self) -> tuple[Companions, Relations]:
        """Windows that are brought along, read when the first is wanted, and the relations to those who have one."""
        companions = self._read()
        return companions, self._relations.towards(companions.are_there_U)

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The windows, and those of the anchors' friends; without any anchor somebody's, which counts nothing."""
        users_B, draw_B = batch.users_B.numpy(), rng.window_uniforms(_FRIEND_DRAW, batch).numpy()
        companions, relations = self._companions
        rows_B = relations.rows(users_B)
        friend_B = relations.drawn(rows_B, draw_B)
        anchor_K = np.flatnonzero(friend_B != NOBODY)
        is_pair_K = np.ones(len(anchor_K), bool)
        if not len(anchor_K):
            anchor_K, is_pair_K = np.zeros(1, np.int64), np.zeros(1, bool)
            friend_B[0] = np.argmax(companions.are_there_U)
        known = {_ROW: torch.from_numpy(rows_B), _PROFILE: torch.from_numpy(self._profiles.of(users_B))}
        asked = {
            _ANCHOR: torch.from_numpy(anchor_K),
            _IS_PAIR: torch.from_numpy(is_pair_K),
            _NEAR: torch.from_numpy(self._relations.near(rows_B[anchor_K])),
        }
        friends = companions.windows(friend_B[anchor_K], batch.weight)
        looks = [replace(batch, labels=batch.labels | known), replace(friends, labels=friends.labels | asked)]
        token = APPENDED.get(self._readout)
        return looks if token is None else [append_token(look, token) for look in looks]

    def counts(self, views: list[Batch]) -> Tensor:
        _, friends = views
        return (friends.labels[_IS_PAIR].sum() * friends.weight).float()[None]

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        everybody, friends = views
        vectors_ND, friends_KD = (F.normalize(encoder.pooled(view).float(), dim=-1) for view in views)
        vectors_GD, _ = gather(vectors_ND)
        anchors_KD = vectors_ND[friends.labels[_ANCHOR]]
        truth_K1 = (anchors_KD * friends_KD).sum(1, keepdim=True)
        is_stranger_KG = self._strangers(everybody, friends, gather)
        others_KG = (anchors_KD @ vectors_GD.T).masked_fill(~is_stranger_KG, float("-inf"))
        logits_K1G = torch.cat([truth_K1, others_KG], 1) / self._temperature
        loss_K = logits_K1G.logsumexp(1) - logits_K1G[:, 0]
        return LossSum(((loss_K * friends.labels[_IS_PAIR]).sum() * friends.weight)[None])

    def _strangers(self, everybody: Batch, friends: Batch, gather: Gather) -> Tensor:
        """Whom each anchor's friend is told from, `[K, G]`."""
        anchor_K, row_N, profile_NA = friends.labels[_ANCHOR], everybody.labels[_ROW], everybody.labels[_PROFILE]
        users_G, _ = gather(everybody.users_B)
        is_filler_G, _ = gather(torch.full_like(everybody.users_B, everybody.weight == 0))
        is_stranger_KG = (everybody.users_B[anchor_K, None] != users_G) & (is_filler_G == 0)
        place_K = torch.arange(len(anchor_K), device=anchor_K.device)
        code_KG = self._relations.code(place_K[:, None], gather(row_N)[0])
        is_stranger_KG &= ~torch.isin(code_KG, friends.labels[_NEAR])
        if profile_NA.shape[1]:
            is_stranger_KG &= ~self._are_alike(profile_NA[anchor_K], gather(profile_NA)[0])
        return is_stranger_KG

    def _are_alike(self, profile_KA: Tensor, profile_GA: Tensor) -> Tensor:
        """Who shares enough of the profile, `[K, G]`; what is not known of either is not shared."""
        columns = zip(profile_KA.T, profile_GA.T, strict=True)
        shared_KG = torch.stack([(one_K[:, None] == one_G) & (one_K[:, None] > 0) for one_K, one_G in columns]).sum(0)
        return shared_KG >= self._alike * profile_KA.shape[1]
