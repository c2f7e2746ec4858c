"""Windows cut out of decoded buckets, by whoever holds these; of a bucket only what windows are made of is held.

Item indices are held in four bytes and get their eight in the batch; times are held where something reads them. That
halves a bucket, or leaves a quarter of it, at the price of a copy as it is decoded.

Shapes: U users of a bucket, N their interactions, W windows, T interactions of all windows together.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Cut
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.feed.batch import START, TIMESTAMPS, Batch
from ray_userrep.feed.plan import MicroBatch
from ray_userrep.feed.windows import Windows

_ITEMS = "items"


class Held(NamedTuple):
    """What is held of a bucket: hashes of its users, bounds of their interactions, and columns of these by name."""

    user_hash_U: NDArray[np.int64]
    offsets_U1: NDArray[np.int64]
    columns_N: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.user_hash_U, self.offsets_U1, *self.columns_N.values()))


def held(bucket: Bucket, columns: Sequence[str]) -> Held:
    """What windows with these columns, of which times may be one, are cut from."""
    fits = bucket.items_N.max(initial=0) <= np.iinfo(np.int32).max
    found: dict[str, NDArray[Any]] = {_ITEMS: bucket.items_N.astype(np.int32 if fits else np.int64)}
    if TIMESTAMPS in columns:
        found[TIMESTAMPS] = bucket.timestamps_N
    return Held(bucket.user_hash_U, bucket.offsets_U1, found | bucket.side_N)


class Cuts(NamedTuple):
    """Windows end to end: whose each is, and columns of their interactions."""

    users_W: NDArray[np.int64]
    columns_T: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        return self.users_W.nbytes + sum(column.nbytes for column in self.columns_T.values())


class WindowSource(Protocol):
    """Where windows come from."""

    def cut(self, windows: Windows) -> Cuts:
        """These windows, in their order."""
        ...


class BucketWindows:
    """Cuts windows out of buckets that it decodes itself, of which it holds so many; others are read again."""

    def __init__(self, corpus: Corpus, cut: Cut, columns: Sequence[str], size: int) -> None:
        self._held = lru_cache(maxsize=size)(lambda number: read_held(corpus, cut, columns, number))

    def cut(self, windows: Windows) -> Cuts:
        return cut_windows(self._held, windows)


def read_held(corpus: Corpus, cut: Cut, columns: Sequence[str], number: int) -> Held:
    """What is held of a bucket of what a cut trains on, read from the corpus."""
    return held(cut.training(corpus.bucket(number, columns))[0], columns)


def cut_windows(held_of: Callable[[int], Held], windows: Windows) -> Cuts:
    """Cut windows out of the buckets that they name.

    Places are worked out for all windows at once, so that a bucket costs one look-up a column however many there are.
    """
    by_bucket = np.argsort(windows.bucket_W, kind="stable")
    number_W, row_W, start_W, length_W = windows.take(by_bucket)
    bounds = np.flatnonzero(np.diff(number_W, prepend=-1, append=-1))
    pieces = [(held_of(int(number_W[low])), slice(low, high)) for low, high in pairwise(bounds)]
    first_W = np.concatenate([bucket.offsets_U1[row_W[here]] for bucket, here in pieces]) + start_W
    source_T, ends_W = ranges(first_W, length_W), np.cumsum(length_W)
    parts = []
    for bucket, here in pieces:
        place_T = source_T[ends_W[here.start] - length_W[here.start] : ends_W[here.stop - 1]]
        columns_T = {name: column_N[place_T] for name, column_N in bucket.columns_N.items()}
        parts.append(Cuts(bucket.user_hash_U[row_W[here]], columns_T))
    return put_back(parts, by_bucket, windows.length_W)


def put_back(parts: Sequence[Cuts], index_W: NDArray[np.int64], length_W: NDArray[np.int64]) -> Cuts:
    """The windows of all parts in their order, in which `index_W` is the place of each; `length_W` is in that order."""
    back_W = np.empty_like(index_W)
    back_W[index_W] = np.arange(len(index_W))
    given_W = length_W[index_W]
    back_T = ranges((np.cumsum(given_W) - given_W)[back_W], length_W)
    columns_T = {name: np.concatenate([part.columns_T[name] for part in parts])[back_T] for name in parts[0].columns_T}
    return Cuts(np.concatenate([part.users_W for part in parts])[back_W], columns_T)


def gather(source: WindowSource, micros: Sequence[MicroBatch]) -> list[Batch]:
    """Read the windows of all micro-batches at once."""
    cuts = source.cut(Windows.concat([micro.windows for micro in micros]))
    windows_M = np.cumsum([0, *(len(micro.windows.length_W) for micro in micros)])
    tokens_M = np.cumsum([0, *(micro.windows.length_W.sum() for micro in micros)])
    batches = []
    for micro, users, tokens in zip(micros, pairwise(windows_M), pairwise(tokens_M), strict=True):
        columns_T = {name: column_T[slice(*tokens)] for name, column_T in cuts.columns_T.items()}
        batches.append(_batch(Cuts(cuts.users_W[slice(*users)], columns_T), micro))
    return batches


def _batch(cuts: Cuts, micro: MicroBatch) -> Batch:
    length_W = micro.windows.length_W
    columns = {name: torch.from_numpy(column_T) for name, column_T in cuts.columns_T.items()}
    return Batch(
        values_T=columns.pop(_ITEMS).long(),
        offsets_B1=torch.from_numpy(np.append(0, np.cumsum(length_W)).astype(np.int32)),
        users_B=torch.from_numpy(cuts.users_W),
        max_len=int(length_W.max()),
        labels={START: torch.from_numpy(micro.windows.start_W)},
        side=columns,
        weight=micro.weight,
    )
