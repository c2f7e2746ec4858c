"""The plan: which windows make up which global batch, as a pure function of lengths, config, seed and epoch.

Nothing here depends on the number of workers, reads data or keeps state: a data position `(epoch, batch)` is all a
checkpoint needs. Planning costs one sort of the windows in a shuffle group; groups bound its memory and the reader's.

Shapes: U users of a bucket, W windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.config import StreamConfig
from ray_userrep.errors import UserError

# What a draw is for, so that two uses of the same keys never share bits.
_BUCKET_ORDER, _WINDOW_ORDER, _WINDOW_START = 1, 2, 3


class Position(NamedTuple):
    """The next global batch to train on."""

    epoch: int = 0
    batch: int = 0


class Windows(NamedTuple):
    """References to windows: bucket, user row in it, first item, number of items."""

    bucket_W: NDArray[np.int64]
    row_W: NDArray[np.int64]
    start_W: NDArray[np.int64]
    length_W: NDArray[np.int64]

    def take(self, index: NDArray[np.integer] | slice) -> "Windows":
        return Windows(*(column[index] for column in self))

    @staticmethod
    def concat(parts: Sequence["Windows"]) -> "Windows":
        return Windows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class GlobalBatch(NamedTuple):
    """One optimiser step's windows, over all workers."""

    position: Position
    windows: Windows


class MicroBatch(NamedTuple):
    """What one worker puts through one forward pass; weight 0.0 marks a filler that only keeps the ranks in step."""

    windows: Windows
    weight: float


@dataclass(frozen=True)
class Plan:
    """All epochs of a run.

    `train_lengths` holds, for each bucket, how many of each user's interactions are trained on; `lookahead` is how
    many items a window carries beyond its inputs (1 where the next item is predicted).
    """

    train_lengths: Sequence[NDArray[np.int64]]
    config: StreamConfig
    lookahead: int
    seed: int
    num_tokens: int = field(init=False)
    num_batches: int = field(init=False)

    def __post_init__(self) -> None:
        if self.config.batch_tokens < self.config.max_len:
            raise UserError(
                f"stream.batch_tokens {self.config.batch_tokens} is smaller than stream.max_len {self.config.max_len}: "
                "a global batch must hold at least one window"
            )
        tokens = sum(int(self._targets_per_epoch(bucket_U).sum()) for bucket_U in self.train_lengths)
        if tokens == 0:
            raise UserError("nothing to train on: no user has two interactions before the split's held-out ones")
        object.__setattr__(self, "num_tokens", tokens)
        # Rounded down, so that a batch is never smaller than batch_tokens and therefore never empty.
        object.__setattr__(self, "num_batches", max(1, tokens // self.config.batch_tokens))

    def batches(self, position: Position) -> Iterator[GlobalBatch]:
        """The global batches of one epoch, from the position on."""
        epoch, first = position
        pending: list[Windows] = []
        batch = 0
        for part_of, windows in self._parts(epoch):
            if part_of != batch:
                if batch >= first:
                    yield GlobalBatch(Position(epoch, batch), Windows.concat(pending))
                pending, batch = [], part_of
            pending.append(windows)
        if batch >= first:
            yield GlobalBatch(Position(epoch, batch), Windows.concat(pending))

    def _parts(self, epoch: int) -> Iterator[tuple[int, Windows]]:
        """Runs of windows with the number of their batch; a batch may span two shuffle groups."""
        tokens_before = 0
        for group in self._groups(epoch):
            windows = self._group_windows(group, epoch)
            ends_W = tokens_before + np.cumsum(windows.length_W - self.lookahead)
            starts_W = np.concatenate([[tokens_before], ends_W[:-1]])
            batch_W = starts_W * self.num_batches // self.num_tokens
            bounds = np.flatnonzero(np.diff(batch_W, prepend=-1, append=-1))
            for low, high in pairwise(bounds):
                yield int(batch_W[low]), windows.take(slice(low, high))
            tokens_before = int(ends_W[-1])

    def _groups(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Buckets in the epoch's order, so many at a time as are shuffled together."""
        buckets = np.arange(len(self.train_lengths))
        order = np.argsort(draws.bits(_BUCKET_ORDER, self.seed, epoch, buckets), kind="stable")
        filled = [b for b in buckets[order] if (self.train_lengths[b] > self.lookahead).any()]
        for low in range(0, len(filled), self.config.shuffle_buckets):
            yield np.array(filled[low : low + self.config.shuffle_buckets])

    def _group_windows(self, group: NDArray[np.int64], epoch: int) -> Windows:
        windows = Windows.concat([self._bucket_windows(int(bucket), epoch) for bucket in group])
        key = draws.bits(_WINDOW_ORDER, self.seed, epoch, windows.bucket_W, windows.row_W, windows.start_W)
        return windows.take(np.argsort(key, kind="stable"))

    def _bucket_windows(self, bucket: int, epoch: int) -> Windows:
        targets_U = np.maximum(self.train_lengths[bucket] - self.lookahead, 0)
        max_len = self.config.max_len
        if self.config.windows == "tile":
            row_W, start_W, num_W = _tiles(targets_U, max_len)
        else:
            row_W = np.flatnonzero(targets_U)
            num_W = np.minimum(targets_U[row_W], max_len)
            start_W = targets_U[row_W] - num_W
            if self.config.windows == "random":
                draw = draws.uniforms(_WINDOW_START, self.seed, epoch, bucket, row_W)
                start_W = (draw * (start_W + 1)).astype(np.int64)
        return Windows(np.full(len(row_W), bucket), row_W, start_W, num_W + self.lookahead)

    def _targets_per_epoch(self, lengths_U: NDArray[np.int64]) -> NDArray[np.int64]:
        targets_U = np.maximum(lengths_U - self.lookahead, 0)
        return targets_U if self.config.windows == "tile" else np.minimum(targets_U, self.config.max_len)


def _tiles(
    targets_U: NDArray[np.int64], max_len: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut every user's targets into windows from the newest back: (user row, first item, targets) of each."""
    tiles_U = -(-targets_U // max_len)
    row_W = np.repeat(np.arange(len(targets_U)), tiles_U)
    tile_W = ranges(np.zeros(len(targets_U), np.int64), tiles_U)
    end_W = targets_U[row_W] - tile_W * max_len
    start_W = np.maximum(end_W - max_len, 0)
    return row_W, start_W, end_W - start_W


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """`start, start + 1, …` for each pair, end to end."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def rank_slice(batch: GlobalBatch, rank: int, world: int, micro_tokens: int) -> list[MicroBatch]:
    """A worker's share of a global batch, as many micro-batches on every rank.

    Windows are dealt out longest first, back and forth over all ranks and micro-batches: this balances the tokens and
    the squared lengths that attention pays for.
    """
    windows = batch.windows
    num_micros = max(1, -(-int(windows.length_W.sum()) // (world * micro_tokens)))
    slots = world * num_micros
    dealt = np.arange(len(windows.length_W))
    turn, place = dealt // slots, dealt % slots
    slot_of_dealt = np.where(turn % 2 == 0, place, slots - 1 - place)
    longest_first = np.argsort(-windows.length_W, kind="stable")
    micros = []
    for micro in range(num_micros):
        mine = longest_first[slot_of_dealt == micro * world + rank]
        filler = windows.take(slice(0, 1))
        micros.append(MicroBatch(windows.take(mine), 1.0) if len(mine) else MicroBatch(filler, 0.0))
    return micros
