"""The plan: which windows make up which global batch, as a pure function of lengths, config, seed and epoch.

Nothing here depends on the number of workers or keeps state: a data position `(epoch, batch)` is all a checkpoint
needs. Planning costs one sort of the windows in a shuffle group; groups bound its memory and the reader's. Lengths are
asked for bucket by bucket, in each epoch anew, so that they may be read instead of held.
With a domain temperature an epoch repeats windows of some domains and leaves out some of others: exactly once then
means as often as planned. A window's turn comes round evenly, so that epochs together leave out none.

Shapes: U users of a bucket, W windows, D domains.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.jagged import ranges
from ray_userrep.errors import UserError
from ray_userrep.feed.ranks import ALONE, Ranks, share_of
from ray_userrep.feed.windows import Domains, Lengths, Windows, tiles
from ray_userrep.recipe.corpus import StreamConfig

# What a draw is for, so that two uses of the same keys never share bits.
_BUCKET_ORDER, _WINDOW_ORDER, _WINDOW_START, _WINDOW_TURN, _COPY_ORDER = 1, 2, 3, 4, 5


class Position(NamedTuple):
    """The next global batch to train on."""

    epoch: int = 0
    batch: int = 0


class GlobalBatch(NamedTuple):
    """One optimiser step's windows, over all workers."""

    position: Position
    windows: Windows
    is_last: bool = False  # of its epoch

    @property
    def after(self) -> Position:
        """The position of the batch that follows."""
        epoch, batch = self.position
        return Position(epoch + 1) if self.is_last else Position(epoch, batch + 1)


class Account(NamedTuple):
    """What an epoch does with each domain's targets: all there are, those trained on, the second and later times they
    are, and those left out; `[D]`, one domain where none are told apart.
    """

    targets_D: NDArray[np.int64]
    trained_D: NDArray[np.int64]
    repeated_D: NDArray[np.int64]
    left_out_D: NDArray[np.int64]


class MicroBatch(NamedTuple):
    """What one worker puts through one forward pass; weight 0.0 marks a filler that only keeps the ranks in step."""

    windows: Windows
    weight: float


@dataclass(frozen=True)
class BatchPlan:
    """All epochs of a run.

    `lookahead` is how many items a window carries beyond its inputs (1 where the next item is predicted); `num_users`
    have more. `num_tokens` and `num_batches` are those of an epoch, on average where domains are mixed. They follow
    from what was `counted` before, lengths and how many users have each, or `ranks` count them together: plans are
    equal either way.
    """

    train_lengths: Lengths
    config: StreamConfig
    lookahead: int
    seed: int
    domains: Domains | None = None
    ranks: Ranks = ALONE
    counted: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    num_users: int = field(init=False)
    num_tokens: int = field(init=False)
    num_batches: int = field(init=False)
    rate_D: NDArray[np.float64] | None = field(init=False, default=None)  # how often an epoch trains on a window

    def __post_init__(self) -> None:
        if self.config.batch_tokens < self.config.max_len:
            raise UserError(
                f"stream.batch_tokens {self.config.batch_tokens} is smaller than stream.max_len {self.config.max_len}: "
                "a global batch must hold at least one window"
            )
        if self.counted is None:
            counts = [self._counts(self.train_lengths[b], 1) for b in share_of(self.ranks, len(self.train_lengths))]
            users, tokens = self.ranks.total(np.array(counts, np.int64).reshape(-1, 2).sum(0)).tolist()
        else:
            users, tokens = self._counts(*self.counted)
        if tokens == 0:
            raise UserError("nothing to train on: no user has two interactions before the split's held-out ones")
        object.__setattr__(self, "num_users", users)
        object.__setattr__(self, "num_tokens", tokens)
        object.__setattr__(self, "num_batches", self._num_batches(tokens))
        if self.domains is not None and self.config.domain_temperature != 1:
            object.__setattr__(self, "rate_D", self._rates())

    def _counts(self, lengths_U: NDArray[np.int64], times_U: NDArray[np.int64] | int) -> tuple[int, int]:
        """How many of these users, each standing for so many, are trained on, and on how many targets an epoch."""
        targets_U = self._targets_per_epoch(lengths_U)
        return int(((lengths_U > self.lookahead) * times_U).sum()), int((targets_U * times_U).sum())

    def _num_batches(self, tokens: int) -> int:
        # Rounded down, so that a batch is never smaller than batch_tokens and therefore never empty.
        return max(1, tokens // self.config.batch_tokens)

    def _rates(self) -> NDArray[np.float64]:
        # A domain that random windows missed in this epoch may turn up in another: it counts as one of one target.
        found_D = self.account(0).targets_D
        targets_D = np.maximum(found_D, 1)
        sizes_D = (targets_D / self.num_tokens) ** (1 / self.config.domain_temperature)
        return sizes_D / sizes_D[found_D > 0].sum() * self.num_tokens / targets_D

    def account(self, epoch: int) -> Account:
        """Count what an epoch trains on, repeats and leaves out; costs a pass over its windows."""
        names = ("",) if self.domains is None else self.domains.names
        counts = np.zeros((4, len(names)), np.int64)
        for bucket in range(len(self.train_lengths)):
            windows = self._bucket_windows(bucket, epoch)
            times_W = self._times(windows, epoch)
            for row, weight_W in enumerate([1, times_W, np.maximum(times_W - 1, 0), times_W == 0]):
                counts[row] += self.targets(windows, weight_W)
        return Account(*counts)

    def targets(self, windows: Windows, times_W: NDArray[np.integer | np.bool_] | int = 1) -> NDArray[np.int64]:
        """How many targets of each domain windows hold, `[D]`; each window counts so many times."""
        targets_W = (windows.length_W - self.lookahead) * times_W
        if self.domains is None:
            return np.array([targets_W.sum()])
        found_D = np.bincount(self.domains.of(windows), targets_W, minlength=len(self.domains.names))
        return found_D.astype(np.int64)

    def example(self) -> Windows:
        """Windows as a batch has them, of one bucket: nothing is shuffled or counted for them."""
        filled = (b for b in range(len(self.train_lengths)) if (self.train_lengths[b] > self.lookahead).any())
        windows = self._bucket_windows(next(filled), epoch=0)
        before_W = np.cumsum(windows.length_W - self.lookahead)
        return windows.take(slice(0, int(np.searchsorted(before_W, self.config.batch_tokens)) + 1))

    def batches(self, position: Position) -> Iterator[GlobalBatch]:
        """The global batches of one epoch, from the position on; none where no window has its turn in it."""
        epoch, first = position
        pending: list[Windows] = []
        batch = 0
        for part_of, windows in self._parts(epoch):
            if part_of != batch:
                if batch >= first:
                    yield GlobalBatch(Position(epoch, batch), Windows.concat(pending))
                pending, batch = [], part_of
            pending.append(windows)
        if pending and batch >= first:
            yield GlobalBatch(Position(epoch, batch), Windows.concat(pending), is_last=True)

    def _parts(self, epoch: int) -> Iterator[tuple[int, Windows]]:
        """Runs of windows with the number of their batch; a batch may span two shuffle groups."""
        num_tokens = self.num_tokens if self.rate_D is None else int(self.account(epoch).trained_D.sum())
        num_batches = self._num_batches(num_tokens)
        tokens_before = 0
        for group in self._groups(epoch):
            windows = self._group_windows(group, epoch)
            targets_W = windows.length_W - self.lookahead
            batch_W = batch_of(tokens_before + np.cumsum(targets_W) - targets_W, num_batches, num_tokens)
            bounds = np.flatnonzero(np.diff(batch_W, prepend=-1, append=-1))
            for low, high in pairwise(bounds):
                yield int(batch_W[low]), windows.take(slice(low, high))
            tokens_before += int(targets_W.sum())

    def _groups(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Buckets in the epoch's order, so many at a time as are shuffled together."""
        buckets = np.arange(len(self.train_lengths))
        order = np.argsort(draws.bits(_BUCKET_ORDER, self.seed, epoch, buckets), kind="stable")
        filled = (b for b in buckets[order] if (self.train_lengths[b] > self.lookahead).any())
        while group := list(islice(filled, self.config.shuffle_buckets)):
            yield np.array(group)

    def _group_windows(self, group: NDArray[np.int64], epoch: int) -> Windows:
        windows = Windows.concat([self._bucket_windows(int(bucket), epoch) for bucket in group])
        times_W = self._times(windows, epoch)
        if self.rate_D is not None:
            windows = windows.take(np.repeat(np.arange(len(times_W)), times_W))
        key = draws.bits(_WINDOW_ORDER, self.seed, epoch, windows.bucket_W, windows.row_W, windows.start_W)
        if self.rate_D is not None:
            copy_W = ranges(np.zeros_like(times_W), times_W)
            key = np.where(copy_W == 0, key, draws.bits(_COPY_ORDER, key.view(np.int64), copy_W))
        return windows.take(np.argsort(key, kind="stable"))

    def _times(self, windows: Windows, epoch: int) -> NDArray[np.int64]:
        """How often an epoch trains on each window, `[W]`: every window's turns are as far apart as its rate says."""
        if self.rate_D is None or self.domains is None:
            return np.ones(len(windows.row_W), np.int64)
        rate_W = self.rate_D[self.domains.of(windows)]
        tile_W = windows.start_W if self.config.windows == "tile" else 0
        phase_W = draws.uniforms(_WINDOW_TURN, self.seed, windows.bucket_W, windows.row_W, tile_W)
        return (np.floor((epoch + 1) * rate_W + phase_W) - np.floor(epoch * rate_W + phase_W)).astype(np.int64)

    def _bucket_windows(self, bucket: int, epoch: int) -> Windows:
        targets_U = np.maximum(self.train_lengths[bucket] - self.lookahead, 0)
        max_len = self.config.max_len
        if self.config.windows == "tile":
            row_W, start_W, num_W = tiles(targets_U, max_len)
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


def batch_of(before_W: NDArray[np.int64], num_batches: int, num_tokens: int) -> NDArray[np.int64]:
    """The batch of each window by the rising number of tokens before it: that share of all batches, rounded down.

    Batches are found by where they begin, in Python's integers: tokens times batches of 10¹² interactions overflow.
    """
    if len(before_W) == 0:
        return before_W
    first, last = (int(before) * num_batches // num_tokens for before in before_W[[0, -1]])
    starts = [-(-batch * num_tokens // num_batches) for batch in range(first + 1, last + 1)]
    return first + np.searchsorted(np.array(starts, np.int64), before_W, side="right")


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
