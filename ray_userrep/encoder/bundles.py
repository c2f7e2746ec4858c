"""Bundles: what a user did in an hour, day or week is one row of the backbone, and the newest interactions a row each.

A long history is told in few rows, so that attention over it stays cheap; what was done in a slot of time is told as a
set, without its order. A row is the mean of its interactions' vectors. The newest interactions stay single, and with
them all of the slot that the oldest of these lies in: no slot is told in both ways, so that a bundle never holds what
is asked of a single interaction of the same slot. How many rows a batch has hangs on its times: in training they are
found where batches are read, elsewhere the host waits for the device once a batch to learn it.

Shapes: T tokens, B windows, K rows, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ray_userrep.encoder.readout import window_sums
from ray_userrep.feed.batch import TIMESTAMPS, Batch, WorksAhead
from ray_userrep.recipe.encoder import EncoderConfig

_HOUR = 3600 * 10**6  # us
_SLOTS = {"hour": _HOUR, "day": 24 * _HOUR, "week": 7 * 24 * _HOUR}
_MONDAY = 3 * 24 * _HOUR  # 1970 began on a Thursday; weeks begin on Mondays
_FIRST, _IS_SINGLE, _ROW = "first", "is_single", "row"  # of rows: their first tokens, and what they are; of tokens


class Bundling(NamedTuple):
    """How long a slot is (us), and how many of a window's newest interactions stay single at least."""

    slot: int
    singles: int

    def floor(self, times_T: Tensor) -> Tensor:
        """When the slot of each time begins (us)."""
        return times_T - (times_T + _MONDAY) % self.slot

    def is_single(self, batch: Batch) -> Tensor:
        """Which interactions are a row of their own, `[T]`."""
        slot_T = self.floor(batch.side[TIMESTAMPS])
        if self.singles == 0:
            return torch.zeros_like(slot_T, dtype=torch.bool)
        first_T, end_T = (batch.per_token(bound_B).long() for bound_B in (batch.offsets_B1[:-1], batch.offsets_B1[1:]))
        return slot_T >= slot_T[torch.maximum(first_T, end_T - self.singles)]

    def begins(self, batch: Batch) -> Tensor:
        """Which interactions are the first of a row, `[T]`."""
        slot_T = self.floor(batch.side[TIMESTAMPS])
        is_new_T = slot_T != torch.cat([slot_T[:1], slot_T[:-1]])
        return is_new_T | self.is_single(batch) | (batch.positions() == 0)


def bundling_of(config: EncoderConfig) -> Bundling | None:
    """How an encoder of this config bundles; None where every interaction is a row."""
    return None if config.bundle == "none" else Bundling(_SLOTS[config.bundle], config.singles)


class Rows(NamedTuple):
    """What a backbone is given: row vectors, `[K, D]`, the windows that they make up, and each token's row, `[T]`."""

    x_KD: Tensor
    windows: Batch
    row_T: Tensor


def single_rows(x_TD: Tensor, batch: Batch) -> Rows:
    """Every interaction as a row."""
    return Rows(x_TD, batch, torch.arange(batch.num_tokens, device=x_TD.device))


class Bundles(nn.Module, WorksAhead):
    """From interactions to rows; bundles and single interactions are told apart by a vector each, zero at first."""

    def __init__(self, bundling: Bundling, width: int) -> None:
        super().__init__()
        self._bundling = bundling
        self.kinds = nn.Parameter(torch.zeros(2, width))

    def forward(self, x_TD: Tensor, batch: Batch) -> Rows:
        windows = batch.ahead.get(self) or self.ahead(batch)
        first_K, is_single_K, row_T = (windows.labels[name] for name in (_FIRST, _IS_SINGLE, _ROW))
        bounds_K1 = torch.cat([first_K, batch.offsets_B1[-1:].long()])
        means_KD = window_sums(x_TD, bounds_K1) / bounds_K1.diff()[:, None]
        return Rows(means_KD + self.kinds[is_single_K.long()], windows, row_T)

    def ahead(self, batch: Batch) -> Batch:
        """The windows of rows, with the first token of each row and the row of each token."""
        begins_T = self._bundling.begins(batch)
        row_T1 = torch.cat([begins_T.new_zeros(1, dtype=torch.long), begins_T.cumsum(0)])
        first_K = begins_T.nonzero()[:, 0]
        is_single_K = self._bundling.is_single(batch)[first_K]
        return Batch(
            values_T=batch.values_T[first_K],
            offsets_B1=row_T1[batch.offsets_B1.long()].to(batch.offsets_B1.dtype),
            users_B=batch.users_B,
            max_len=batch.max_len,
            side={name: column_T[first_K] for name, column_T in batch.side.items()},
            labels={_FIRST: first_K, _IS_SINGLE: is_single_K, _ROW: row_T1[1:] - 1},
        )
