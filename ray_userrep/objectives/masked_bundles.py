"""Masked bundles: of some rows of a window everything is hidden but the slot of time, and told from the others.

What is predicted is not which items there were but what they were like: the values of columns of the catalogue and
fields of interactions, several at once, since a bundle holds several interactions. Of the bundles of a window a share
is hidden, and of its single interactions another, at least one of each and never all: both parts of a history learn to
fill in each other. Where the encoder reads attributes of users, a share of these is hidden as well, each by itself, and
predicted at its own row. Behind UserBERT of Rakuten (arXiv 2202.07605), which could not be read in full.

Shapes: T tokens, B windows, K rows, N hidden tokens, M hidden rows, A attributes, C codes, P parts.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ray_userrep.corpus.profiles import stored_name
from ray_userrep.encoder.bundles import Bundling
from ray_userrep.encoder.profile import PROFILE_SIZE, profile_codes
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.augment import hide, windows_of
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.set_head import SetHead, is_known
from ray_userrep.objectives.side_head import CodeHead

_HIDE_DRAW, _PROFILE_DRAW = 38, 200  # of the first attribute, and those after for the others
_PLACE = "hidden_row"


class MaskedBundles(Objective):
    """The negative log-likelihood of what hidden rows hold, and of hidden attributes.

    Each column, field and attribute is a part with a count of its own.
    """

    def __init__(
        self, bundling: Bundling, heads: Sequence[SetHead], attributes: Sequence[str], width: int, mask_rate: float
    ) -> None:
        super().__init__()
        self.reads_times = True  # bundles are times
        self.heads = nn.ModuleList(heads)
        self.profile_heads = nn.ModuleList(CodeHead(PROFILE_SIZE, width) for _ in attributes)
        self._attributes = tuple(attributes)
        self._profile_parts = tuple(f"profile_{name}" for name in attributes)
        self._set_parts = tuple(f"hidden_{head.name}" for head in heads)
        self.parts = (*self._set_parts, *self._profile_parts)
        self.weights = (1.0,) * len(self.parts)
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
        view = replace(view, labels=batch.labels | held | {_PLACE: first_M})
        return [self._without_attributes(view, batch, rng)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        known = [is_known(view.labels[part]).sum() for part in self._set_parts]
        known += [(view.labels[part] > 0).sum() for part in self._profile_parts]
        return torch.stack(known).float() * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        states_TD, profile_BAD = encoder.states_apart(view)
        states_MD = states_TD[view.labels[_PLACE]]
        sums = [head(states_MD, view.labels[part]) for part, head in self._named()]
        profile = zip(self.profile_heads, profile_BAD.unbind(1), self._profile_parts, strict=True)
        sums += [head(states_BD, view.labels[part]) for head, states_BD, part in profile]
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

    def _without_attributes(self, view: Batch, batch: Batch, rng: Draws) -> Batch:
        """The view without a share of the attributes of its users, with what they were."""
        side, labels = dict(view.side), dict(view.labels)
        for place, (name, part) in enumerate(zip(self._attributes, self._profile_parts, strict=True)):
            is_hidden_B = rng.window_uniforms(_PROFILE_DRAW + place, batch) < self._mask_rate
            labels[part] = profile_codes(batch, name) * is_hidden_B
            column = stored_name(name)
            side[column] = side[column].masked_fill(view.per_token(is_hidden_B), 0)
        return replace(view, side=side, labels=labels)

    def _named(self) -> list[tuple[str, SetHead]]:
        heads = [head for head in self.heads if isinstance(head, SetHead)]
        return list(zip(self._set_parts, heads, strict=True))
