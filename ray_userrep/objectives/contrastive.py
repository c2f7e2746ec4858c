"""Two looks at a window should give one user vector, and the looks at other users' windows another.

Every window of the global batch is a negative for every other, gathered over the workers with gradients; windows of the
same user are none. Many negatives cost one matrix product, and bind the loss to the size of the batch.
With `same_target` the window's newest item is held back, and windows that lead up to the same item are none either.

Shapes: N windows of this rank, G windows of all ranks, D width.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.readout import APPENDED, append_token
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.augment import PAIRED, keep
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.in_batch import Choice
from ray_userrep.recipe.encoder import ReadoutKind

View = Callable[[Batch, Draws, int, float], Batch]
_NEGATIVE_KEY, _KEY_DRAW = "negative_key", 20
_REWORD_DRAW = 22
_TARGET = "window_target"


class Contrastive(Objective):
    """The symmetric InfoNCE of two looks (Chen et al., ICML 2020; for sequences CL4SRec, Xie et al., ICDE 2022)."""

    parts = ("contrast",)
    num_views = 2
    looks_across = True

    def __init__(
        self,
        view: View,
        share: float,
        readout: ReadoutKind,
        temperature: float,
        num_negatives: int | None,
        choose: Choice | None = None,
        whole_first: bool = False,
        same_target: bool = False,
        reword: float = 0.0,
        num_items: int = 0,
        side_columns: tuple[str, ...] = (),
        lookahead: int = 0,
    ) -> None:
        super().__init__()
        self._view, self._share = view, share
        self._readout: ReadoutKind = readout
        self._temperature = temperature
        self._num_negatives, self._choose = num_negatives, choose
        self._whole_first, self._same_target = whole_first, same_target
        self._reword, self._num_items = reword, num_items
        self.side_columns, self.lookahead = side_columns, lookahead

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The two looks; with the token that is read out where there is one."""
        if self._same_target:
            batch = _without_newest(batch)
        key_B = torch.from_numpy(rng.uniforms(_KEY_DRAW, batch.users_B.numpy()))
        key_B = key_B + float(batch.weight == 0)  # a filler comes behind all others
        batch = replace(batch, labels=batch.labels | {_NEGATIVE_KEY: key_B})
        first = batch if self._whole_first else self._view(batch, rng, 0, self._share)
        looks = [first, self._second(batch, rng)]
        token = APPENDED.get(self._readout)
        return looks if token is None else [append_token(look, token) for look in looks]

    def _second(self, batch: Batch, rng: Draws) -> Batch:
        """The second look: in some batches the items as they are, told in fewer words."""
        if rng.uniforms(_REWORD_DRAW, np.zeros(1, np.int64))[0] < self._reword:
            return replace(batch, values_T=batch.values_T + self._num_items)
        return self._view(batch, rng, 1, self._share)

    def counts(self, views: list[Batch]) -> Tensor:
        return torch.tensor([int(_is_pair(views[1]).sum()) * views[1].weight], dtype=torch.float32)

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        first_ND, second_ND = (F.normalize(encoder.pooled(view).float(), dim=-1) for view in views)
        first_GD, begin = gather(first_ND)
        second_GD, _ = gather(second_ND)
        users_G, _ = gather(views[0].users_B)
        own_N = begin + torch.arange(len(first_ND), device=first_ND.device)
        is_other_NG = self._negatives(users_G, own_N, gather(views[0].labels[_NEGATIVE_KEY])[0])
        is_other_NG &= self._told_apart(views[0], own_N, gather)
        loss = first_ND.new_zeros(())
        for anchor_ND, other_GD in ((first_ND, second_GD), (second_ND, first_GD)):
            logits_NG = anchor_ND @ other_GD.T / self._temperature
            shown_NG = self._chosen(logits_NG, is_other_NG, own_N)
            loss_N = F.cross_entropy(logits_NG.masked_fill(~shown_NG, float("-inf")), own_N, reduction="none")
            loss = loss + (loss_N * _is_pair(views[1])).sum() / 2
        return LossSum((loss * views[0].weight)[None])

    def _negatives(self, users_G: Tensor, own_N: Tensor, key_G: Tensor) -> Tensor:
        """What each window is told apart from, its own other look among it, `[N, G]`."""
        is_other_NG = users_G[own_N, None] != users_G
        if self._num_negatives is not None and self._num_negatives < len(key_G) and self._choose is None:
            # Equal for all anchors: the windows with the lowest keys, which are drawn anew for every batch.
            is_other_NG &= key_G <= key_G.kthvalue(self._num_negatives).values
        columns_G = torch.arange(len(users_G), device=users_G.device)
        return is_other_NG | (columns_G == own_N[:, None])

    def _told_apart(self, view: Batch, own_N: Tensor, gather: Gather) -> Tensor:
        """What is no filler and leads up to another item, and each window itself, `[N, G]` or `[1, G]`."""
        is_filler_G, _ = gather(torch.full_like(view.users_B, view.weight == 0))
        is_other_NG = (is_filler_G == 0)[None]
        if self._same_target:
            target_G, _ = gather(view.labels[_TARGET])
            is_other_NG = is_other_NG & (view.labels[_TARGET][:, None] != target_G)
        columns_G = torch.arange(len(is_filler_G), device=own_N.device)
        return is_other_NG | (columns_G == own_N[:, None])

    def _chosen(self, logits_NG: Tensor, is_other_NG: Tensor, own_N: Tensor) -> Tensor:
        """Each window's own other look, and what it is told from: all, or its hard negatives, `[N, G]`."""
        if self._choose is None:
            return is_other_NG
        assert self._num_negatives is not None, "how many is said where they are hard"
        is_negative_NG = is_other_NG.scatter(1, own_N[:, None], False)
        chosen_NG = self._choose(logits_NG, is_negative_NG, own_N, self._num_negatives)
        return chosen_NG.scatter(1, own_N[:, None], True)


def _without_newest(batch: Batch) -> Batch:
    """The batch without each window's newest item, which becomes its label."""
    newest_B = batch.offsets_B1[1:].long() - 1
    is_kept_T = torch.ones(batch.num_tokens, dtype=torch.bool)
    is_kept_T[newest_B] = False
    return replace(keep(batch, is_kept_T), labels=batch.labels | {_TARGET: batch.values_T[newest_B]})


def _is_pair(view: Batch) -> Tensor:
    return view.labels.get(PAIRED, torch.ones_like(view.users_B, dtype=torch.bool))
