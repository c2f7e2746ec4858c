"""Next-item prediction: every interaction of a window is a target, given those before it.

With a horizon each position predicts one of its next interactions, drawn anew in each pass: what a user does for a
while rather than next (the dense all-action loss of PinnerFormer, Pancha et al., KDD 2022, section 3.4). Vectors then
age more slowly; the next item is ranked less well.

Where it is known what users were shown, the item that they took is also told from what they left (see `impressions`).

Shapes: B windows, T inputs (a window of n items gives n - 1).
"""

from dataclasses import replace

import torch
from torch import Tensor

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import TARGET_USERS, Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.impressions import ShownItems
from ray_userrep.objectives.softmax import ItemSoftmax

TARGETS = "targets"
_AHEAD_DRAW = 36


class Autoregressive(Objective):
    """The negative log-likelihood of an item among the next ones given those before, over a causal backbone."""

    parts: tuple[str, ...] = ("next_item",)
    lookahead = 1
    shows = "all but the newest"

    def __init__(
        self, softmax: ItemSoftmax, horizon: int = 1, shown: ShownItems | None = None, shown_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.softmax = softmax
        self._shown, self.reads_times = shown, shown is not None
        if shown is not None:
            self.parts, self.weights = ("next_item", "shown"), (1.0, shown_weight)
        self.looks_across = softmax.looks_across
        self._horizon = horizon

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """Inputs are all items of a window but its last, targets all but its first, or one of the horizon's each."""
        view, place_T = inputs_of(batch)
        targets_T = batch.values_T[place_T + self._ahead(batch, rng)[place_T]]
        more = {TARGET_USERS: view.per_token(view.users_B)} | self.softmax.sample(rng, targets_T)
        more |= {} if self._shown is None else self._shown.labels(batch, view, place_T, targets_T)
        return [replace(view, side=view.side | {TARGETS: targets_T}, labels=view.labels | more)]

    def _ahead(self, batch: Batch, rng: Draws) -> Tensor:
        """How many places after each token its target is, `[T]`."""
        if self._horizon == 1:
            return torch.ones(batch.num_tokens, dtype=torch.int64)
        left_T = batch.per_token(batch.lengths()) - 1 - batch.positions()
        draw_T = rng.token_uniforms(_AHEAD_DRAW, batch)
        return 1 + (draw_T * left_T.clamp(max=self._horizon)).long()

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        counts = [view.num_tokens] if self._shown is None else [view.num_tokens, self._shown.count(view)]
        return torch.tensor(counts, dtype=torch.float32) * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        states_TD, targets_T = encoder.states(view), view.side[TARGETS]
        sums = [self.softmax(states_TD, targets_T, encoder, view, gather)]
        if self._shown is not None:
            sums.append(self._shown.loss(self.softmax.scaled(states_TD), targets_T, encoder, view))
        return LossSum(torch.stack(sums) * view.weight)


def inputs_of(batch: Batch) -> tuple[Batch, Tensor]:
    """The windows without their newest items, and where what is left was in the batch, `[T]`."""
    assert (batch.lengths() > 0).all(), "an empty window"
    is_input = torch.ones(batch.num_tokens, dtype=torch.bool)
    is_input[batch.offsets_B1[1:].long() - 1] = False
    place_T = is_input.nonzero()[:, 0]
    shift_B1 = torch.arange(batch.num_users + 1, dtype=batch.offsets_B1.dtype)
    inputs = replace(
        batch,
        values_T=batch.values_T[place_T],
        offsets_B1=batch.offsets_B1 - shift_B1,
        max_len=batch.max_len - 1,
        side={name: column[place_T] for name, column in batch.side.items()},
    )
    return inputs, place_T
