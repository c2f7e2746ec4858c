"""Windows by reference: which part of whose sequence, and which domain each belongs to.

A window may span domains, since users do; its domain is that of its last interaction, which is what the window leads up
to, so that one rule serves the mixing, the accounting and the report. For this, one or two bytes an interaction that is
trained on are kept in memory.

Shapes: D domains, N interactions that are trained on, U users, W windows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.store import Bucket
from ray_userrep.feed.ranks import Ranks, share_of


class Lengths(Protocol):
    """For each bucket how many of each of its users' interactions are trained on."""

    def __len__(self) -> int: ...

    def __getitem__(self, bucket: int, /) -> NDArray[np.int64]: ...


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


def tiles(targets_U: NDArray[np.int64], max_len: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut every user's targets into windows from the newest back: (user row, first item, targets) of each."""
    tiles_U = -(-targets_U // max_len)
    row_W = np.repeat(np.arange(len(targets_U)), tiles_U)
    tile_W = ranges(np.zeros(len(targets_U), np.int64), tiles_U)
    end_W = targets_U[row_W] - tile_W * max_len
    start_W = np.maximum(end_W - max_len, 0)
    return row_W, start_W, end_W - start_W


DOMAIN_COLUMN = "domain"


class Domains(NamedTuple):
    """The domain of every interaction that is trained on, users of all buckets end to end."""

    names: tuple[str, ...]
    code_N: NDArray[np.unsignedinteger]
    offsets_U: NDArray[np.int64]  # a user's first interaction
    first_user: NDArray[np.int64]  # of each bucket

    def of(self, windows: Windows) -> NDArray[np.int64]:
        """The domain of each window, `[W]`."""
        user_W = self.first_user[windows.bucket_W] + windows.row_W
        return self.code_N[self.offsets_U[user_W] + windows.start_W + windows.length_W - 1].astype(np.int64)


def collect_domains(
    names: Sequence[str], lengths: Lengths, codes: Callable[[int], NDArray[np.unsignedinteger]], ranks: Ranks
) -> Domains:
    """Put together the codes of all buckets, and how many interactions of each user they cover; ranks share the codes.

    `codes` are those of a bucket's interactions that are trained on, users end to end.
    """
    own, parts = share_of(ranks, len(lengths)), []
    buckets = [lengths[number] for number in range(len(lengths))]
    for number, lengths_U in enumerate(buckets):
        parts.append(codes(number) if number in own else np.zeros(lengths_U.sum(), code_type(names)))
    lengths_U, num_users = np.concatenate(buckets), np.array([len(lengths_U) for lengths_U in buckets])
    code_N = ranks.total(np.concatenate(parts).view(np.uint8)).view(code_type(names))  # sums of bytes, one rank's each
    return Domains(tuple(names), code_N, np.cumsum(lengths_U) - lengths_U, np.cumsum(num_users) - num_users)


def code_type(names: Sequence[str]) -> np.dtype[np.unsignedinteger]:
    """The smallest numbers that tell these names apart."""
    return np.min_scalar_type(len(names))


def domain_codes(names: Sequence[str], bucket: Bucket, lengths_U: NDArray[np.int64]) -> NDArray[np.unsignedinteger]:
    """The place among the names of the domain of each user's first interactions; no domain is the empty name."""
    hashes = np.array([0 if not name else hash_ids(pa.array([name]))[0] for name in names], np.int64)
    by_hash = np.argsort(hashes)
    domain_N = bucket.side_N.get(DOMAIN_COLUMN, np.zeros(0, np.int64))[ranges(bucket.offsets_U1[:-1], lengths_U)]
    place_N = by_hash[np.searchsorted(hashes[by_hash], domain_N)]
    return place_N.astype(code_type(names))
