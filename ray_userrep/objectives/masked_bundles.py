"""Masked bundles: of some rows of a window everything is hidden but the slot of time, and told from the others.

What is predicted is not which items there were but what they were like: the values of columns of the catalogue and
fields of interactions, several at once, since a bundle holds several interactions. Of the bundles of a window a share
is hidden, and of its single interactions another, at least one of each and never all: both parts of a history learn to
fill in each other. Behind UserBERT of Rakuten (arXiv 2202.07605), which could not be read in full.

Shapes: T tokens, B windows, K rows, N hidden tokens, M hidden rows, C codes, P parts.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ray_userrep.encoder.bundles import Bundling
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.augment import hide, windows_of
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.set_head import SetHead, is_known

_HIDE_DRAW = 38
_PLACE = "hidden_row"


class MaskedBundles(Objective):
    """The negative log-likelihood of what hidden rows hold; each column or field is a part with a count of its own."""

    def __init__(self, bundling: Bundling, heads: Sequence[SetHead], mask_rate: float) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.parts = tuple(f"hidden_{head.name}" for head in heads)
        self.weights = (1.0,) * len(heads)
        self.side_columns = tuple(head.column for head in heads if head.column is not None)
        self._bundling, self._mask_rate = bundling, mask_rate

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """Hidden rows become `MASK`, at the beginning of their slots, with what each of them held."""
        begins_T = self._bundling.begins(batch)
        row_T, first_K = begins_T.cumsum(0) - 1, begins_T.nonzero()[:, 0]
        is_hidden_K = self._hidden(batch, rng, first_K)
        is_hidden_T, first_M = is_hidden_K[row_T], first_K[is_hidden_K]
        place_N = is_hidden_T.nonzero()[:, 0]
        set_N = (is_hidden_K.cumsum(0) - 1)[row_T[place_N]]
        held = {part: head.sets(batch, place_N, set_N, len(first_M)) for part, head in self._named()}
        view = hide(self._without_times(batch, is_hidden_T), is_hidden_T)
        return [replace(view, labels=batch.labels | held | {_PLACE: first_M})]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.stack([is_known(view.labels[part]).sum() for part in self.parts]).float() * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        states_MD = encoder.states(view)[view.labels[_PLACE]]
        sums = [head(states_MD, view.labels[part]) for part, head in self._named()]
        return LossSum(torch.stack(sums) * view.weight)

    def _hidden(self, batch: Batch, rng: Draws, first_K: Tensor) -> Tensor:
        """Which rows are hidden, `[K]`: a share of the bundles and of the single ones of each window."""
        draw_K = rng.token_uniforms(_HIDE_DRAW, batch)[first_K]
        # Bundles and single interactions are two groups of each window.
        group_K = (2 * windows_of(batch) + self._bundling.is_single(batch).long())[first_K]
        ends = draw_K.new_zeros(2 * batch.num_users)
        lowest_K, highest_K = (
            ends.scatter_reduce(0, group_K, draw_K, how, include_self=False)[group_K] for how in ("amin", "amax")
        )
        return ((draw_K < self._mask_rate) | (draw_K == lowest_K)) & (draw_K < highest_K)

    def _without_times(self, batch: Batch, is_hidden_T: Tensor) -> Batch:
        """The batch in which of a hidden interaction only the slot is known."""
        times_T = batch.side[TIMESTAMPS]
        return replace(
            batch, side=batch.side | {TIMESTAMPS: torch.where(is_hidden_T, self._bundling.floor(times_T), times_T)}
        )

    def _named(self) -> list[tuple[str, SetHead]]:
        heads = [head for head in self.heads if isinstance(head, SetHead)]
        return list(zip(self.parts, heads, strict=True))
