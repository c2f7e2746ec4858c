"""Masked items: some interactions of a window are hidden and predicted from those that are left.

What predicts them is the encoder's readout: each hidden place its own item (`mask`, as in BERT4Rec), or one user
vector all of them (`cls`, `mean`), which makes the vector that is used later the one that is trained. With `at_place`
each hidden place predicts its own item whatever the readout, as BERT does; the user vector is then trained only as far
as it is made of the same states.

Shapes: B windows, T tokens, M hidden tokens, P parts.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ray_userrep.encoder.readout import APPENDED, append_token
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.augment import hide, shuffled, subsequence, windows_of, without_times
from ray_userrep.objectives.autoregressive import TARGETS
from ray_userrep.objectives.base import TARGET_USERS, Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.side_head import SideHead
from ray_userrep.objectives.softmax import ItemSoftmax
from ray_userrep.recipe.encoder import ReadoutKind

_PLACE, _WINDOW = "hidden", "hidden_window"
_HIDE_DRAW, _LAST_DRAW = 14, 15
_CROP_LOOK, _SHUFFLE_LOOK = 8, 9  # apart from the looks that a contrast draws


class Autoencoding(Objective):
    """The negative log-likelihood of hidden items, and of fields of their side information."""

    def __init__(
        self,
        softmax: ItemSoftmax,
        heads: Sequence[SideHead],
        readout: ReadoutKind,
        mask_rate: float,
        last_rate: float,
        head_weight: float,
        at_place: bool = False,
        crop: float = 1.0,
        shuffle: float = 0.0,
        dropped_heads: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.softmax = softmax
        self.looks_across = softmax.looks_across
        self.heads = nn.ModuleList(heads)
        self.parts = ("hidden_item", *(f"hidden_{head.name}" for head in heads))
        self.weights = (1.0, *(head_weight for _ in heads))
        self.side_columns = tuple(head.column for head in heads if head.column is not None)
        self.dropped_heads = tuple(dropped_heads)
        self._names = [head.name for head in heads]
        self.reads_times = any(head.reads_times for head in heads)
        self._at_place = at_place or readout == "mask"
        self._crop, self._shuffle = crop, shuffle
        self._readout: ReadoutKind = readout
        self._mask_rate, self._last_rate = mask_rate, last_rate

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """Hidden items become `MASK`, and what else would give them away becomes unknown."""
        batch = self._augmented(batch, rng)
        is_hidden_T = self._hidden(batch, rng)
        place_M = is_hidden_T.nonzero()[:, 0]
        targets_M = batch.values_T[place_M]
        window_M = windows_of(batch)[place_M]
        # Where the token that is read out comes last in each window, it moves those of the windows behind.
        moved_M = place_M + window_M if self._readout == "cls" else place_M
        labels = {_PLACE: moved_M, _WINDOW: window_M, TARGETS: targets_M, TARGET_USERS: batch.users_B[window_M]}
        labels |= {head.name: head.codes(batch, place_M) for head in self._side_heads()}
        shown = without_times(batch, is_hidden_T) if self.reads_times else batch
        view = replace(hide(shown, is_hidden_T), labels=batch.labels | labels | self.softmax.sample(rng, targets_M))
        # The token that is read out comes last; for `mask` it is in the window already.
        return [append_token(view, APPENDED["cls"]) if self._readout == "cls" else view]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        known = [len(view.labels[TARGETS]), *(int((view.labels[name] > 0).sum()) for name in self._names)]
        return torch.tensor(known, dtype=torch.float32) * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        if self._at_place:
            states_MD = encoder.states(view)[view.labels[_PLACE]]
        else:
            states_MD = encoder.pooled(view)[view.labels[_WINDOW]]
        sums = [self.softmax(states_MD, view.labels[TARGETS], encoder, view, gather)]
        sums += [head(states_MD, view.labels[head.name]) for head in self._side_heads()]
        return LossSum(torch.stack(sums) * view.weight)

    def _augmented(self, batch: Batch, rng: Draws) -> Batch:
        """A run of the window, and a run of that in random order, as far as they are asked for."""
        if self._crop < 1:
            batch = subsequence(batch, rng, _CROP_LOOK, self._crop)
        return shuffled(batch, rng, _SHUFFLE_LOOK, self._shuffle) if self._shuffle > 0 else batch

    def _hidden(self, batch: Batch, rng: Draws) -> Tensor:
        """A share of each window's items, at least one; of some windows only the last, as when one is asked for."""
        draw_T = rng.token_uniforms(_HIDE_DRAW, batch)
        last_B, window_T = batch.offsets_B1[1:].long() - 1, windows_of(batch)
        lowest_B = torch.full((batch.num_users,), 2.0, dtype=draw_T.dtype)
        lowest_B = lowest_B.scatter_reduce(0, window_T, draw_T, "amin")
        is_hidden_T = (draw_T < self._mask_rate) | (draw_T == lowest_B[window_T])
        only_last_B = rng.window_uniforms(_LAST_DRAW, batch) < self._last_rate
        is_hidden_T &= ~only_last_B[window_T]
        is_hidden_T[last_B[only_last_B]] = True
        return is_hidden_T

    def _side_heads(self) -> list[SideHead]:
        return [head for head in self.heads if isinstance(head, SideHead)]
