"""Two looks at a window should give one user vector, and the looks at other users' windows another.

Every window of the global batch is a negative for every other, gathered over the workers with gradients; windows of the
same user are none. Many negatives cost one matrix product, and bind the loss to the size of the batch.

Shapes: N windows of this rank, G windows of all ranks, D width.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.readout import APPENDED, ReadoutKind, append
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, alone

View = Callable[[Batch, Draws, int, float], Batch]
_NEGATIVE_KEY, _KEY_DRAW = "negative_key", 20


class Contrastive(Objective):
    """The symmetric InfoNCE of two looks (Chen et al., ICML 2020; for sequences CL4SRec, Xie et al., ICDE 2022)."""

    parts = ("contrast",)
    num_views = 2

    def __init__(
        self, view: View, share: float, readout: ReadoutKind, temperature: float, num_negatives: int | None
    ) -> None:
        super().__init__()
        self._view, self._share = view, share
        self._readout: ReadoutKind = readout
        self._temperature = temperature
        self._num_negatives = num_negatives

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The two looks; with the token that is read out where there is one."""
        key_B = torch.from_numpy(rng.uniforms(_KEY_DRAW, batch.users_B.numpy()))
        batch = replace(batch, labels=batch.labels | {_NEGATIVE_KEY: key_B})
        looks = [self._view(batch, rng, look, self._share) for look in (0, 1)]
        token = APPENDED.get(self._readout)
        return looks if token is None else [append(look, token) for look in looks]

    def counts(self, views: list[Batch]) -> Tensor:
        return torch.tensor([views[0].num_users * views[0].weight], dtype=torch.float32)

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = alone) -> LossSum:
        first_ND, second_ND = (F.normalize(encoder.pooled(view).float(), dim=-1) for view in views)
        first_GD, begin = gather(first_ND)
        second_GD, _ = gather(second_ND)
        users_G, _ = gather(views[0].users_B)
        own_N = begin + torch.arange(len(first_ND), device=first_ND.device)
        is_other_NG = self._negatives(users_G, own_N, gather(views[0].labels[_NEGATIVE_KEY])[0])
        loss = first_ND.new_zeros(())
        for anchor_ND, other_GD in ((first_ND, second_GD), (second_ND, first_GD)):
            logits_NG = (anchor_ND @ other_GD.T / self._temperature).masked_fill(~is_other_NG, float("-inf"))
            loss = loss + F.cross_entropy(logits_NG, own_N, reduction="sum") / 2
        return LossSum((loss * views[0].weight)[None])

    def _negatives(self, users_G: Tensor, own_N: Tensor, key_G: Tensor) -> Tensor:
        """What each window is told apart from, its own other look among it, `[N, G]`."""
        is_other_NG = users_G[own_N, None] != users_G
        if self._num_negatives is not None and self._num_negatives < len(key_G):
            # Equal for all anchors: the windows with the lowest keys, which are drawn anew for every batch.
            is_other_NG &= key_G <= key_G.kthvalue(self._num_negatives).values
        columns_G = torch.arange(len(users_G), device=users_G.device)
        return is_other_NG | (columns_G == own_N[:, None])
