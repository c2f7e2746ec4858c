"""The newest windows of users whom a batch's users bring along, such as their friends.

The plan says which windows a batch holds, and a friend's is mostly in another one. So the newest window of each user
who may be brought along is held in memory, eight bytes an item and a column: where and when a user is brought along
then changes neither the plan nor what any other batch holds. A window ends where the split's training does.

Shapes: U users who may be brought along, K of them at a time, L items of a window.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Cut
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.feed.cutting import Cuts, Held, cut_windows, gather, held
from ray_userrep.feed.plan import MicroBatch
from ray_userrep.feed.windows import Windows


class Companions(NamedTuple):
    """One window each of some users, in a row of their own; an empty one where nothing of a user is trained on."""

    newest_U: Held

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        return np.diff(self.newest_U.offsets_U1)

    @property
    def are_there_U(self) -> NDArray[np.bool_]:
        """Who has a window."""
        return self.lengths_U > 0

    def windows(self, rows_K: NDArray[np.int64], weight: float) -> Batch:
        """The windows of these users, none of them empty."""
        none = np.zeros_like(rows_K)
        (batch,) = gather(self, [MicroBatch(Windows(none, rows_K, none, self.lengths_U[rows_K]), weight)])
        return batch

    def cut(self, windows: Windows) -> Cuts:
        """Whole windows of these users."""
        return cut_windows(lambda _: self.newest_U, windows)


def read_companions(
    corpus: Corpus, cut: Cut, users_U: NDArray[np.int64], max_len: int, side: Sequence[str]
) -> Companions:
    """The newest windows, of `max_len` items at most, of users by rising hash; reads every bucket once."""
    found = [_newest(cut, corpus.bucket(number, side), users_U, max_len) for number in corpus.buckets()]
    rows, parts = np.concatenate([rows for rows, _ in found]), [part for _, part in found]
    lengths = np.concatenate([part.lengths_U for part in parts])
    order = np.argsort(rows)
    place_N = ranges((np.cumsum(lengths) - lengths)[order], lengths[order])
    lengths_U = np.zeros(len(users_U), np.int64)
    lengths_U[rows] = lengths

    def joined(columns: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        return np.concatenate(columns)[place_N]

    bucket = Bucket(
        user_ids=pa.nulls(len(users_U)),  # nobody asks for them
        user_hash_U=users_U,
        offsets_U1=np.append(0, np.cumsum(lengths_U)),
        items_N=joined([part.items_N for part in parts]).astype(np.int64),
        timestamps_N=joined([part.timestamps_N for part in parts]).astype(np.int64),
        side_N={name: joined([part.side_N[name] for part in parts]) for name in parts[0].side_N},
    )
    return Companions(held(bucket, [TIMESTAMPS, *side]))


def _newest(cut: Cut, bucket: Bucket, users_U: NDArray[np.int64], max_len: int) -> tuple[NDArray[np.int64], Bucket]:
    """The newest windows of those of the users who are in a bucket, and the users' places."""
    trained, lengths_U = cut.training(bucket)
    place_U = np.searchsorted(users_U, trained.user_hash_U).clip(max=len(users_U) - 1)
    rows = np.flatnonzero((users_U[place_U] == trained.user_hash_U) & (lengths_U > 0))
    taken = np.minimum(lengths_U[rows], max_len)
    heads = trained.heads(rows, lengths_U[rows])
    is_newest_N = np.zeros(len(heads.items_N), bool)
    is_newest_N[ranges(heads.offsets_U1[1:] - taken, taken)] = True
    return place_U[rows], heads.filter(is_newest_N)
