"""Reading what is ranked out of a corpus: histories with their held-out targets, and what baselines learn from.

All users measured are held in memory as flat arrays; `max_users` bounds them, chosen by hash, so that every run and
every worker measures the same ones.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.plan import ranges
from ray_userrep.corpus.splits import NONE, Split
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.evaluation.data import Histories, Sequences

Part = Literal["valid", "test"]


def read_histories(
    corpus: Corpus, split: Split, part: Part, max_users: int | None, side: Sequence[str] = ()
) -> Histories:
    """The users with a target in this part of the split, each with everything before the target."""
    buckets = (corpus.bucket(number, side) for number in corpus.buckets())
    histories = Histories.concat([_histories(bucket, split, part) for bucket in buckets])
    if max_users is None or histories.num_users <= max_users:
        return histories
    return histories.take(np.sort(np.argsort(histories.users_U.view(np.uint64), kind="stable")[:max_users]))


def read_train(corpus: Corpus, split: Split, before: Part, side: Sequence[str] = ()) -> Sequences:
    """All users' interactions that are known before a part's targets: what a baseline may count."""
    return Sequences.concat([_train(corpus.bucket(number, side), split, before) for number in corpus.buckets()])


def _histories(bucket: Bucket, split: Split, part: Part) -> Histories:
    cut = split.positions(bucket.offsets_U1, bucket.timestamps_N)
    target_U = cut.valid_U if part == "valid" else cut.test_U
    rows = np.flatnonzero(target_U != NONE)
    targets = bucket.items_N[bucket.offsets_U1[rows] + target_U[rows]]
    known = _head(bucket, rows, target_U[rows])
    return Histories(
        known.items_N, known.times_N, known.offsets_U1, known.users_U, targets_U=targets, side_N=known.side_N
    )


def _train(bucket: Bucket, split: Split, before: Part) -> Sequences:
    cut = split.positions(bucket.offsets_U1, bucket.timestamps_N)
    rows = np.arange(len(bucket.user_hash_U))
    return _head(bucket, rows, cut.train_end_U if before == "valid" else cut.before_test_U)


def _head(bucket: Bucket, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Sequences:
    kept = ranges(bucket.offsets_U1[rows], lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    side = {name: column[kept] for name, column in bucket.side_N.items()}
    return Sequences(bucket.items_N[kept], bucket.timestamps_N[kept], offsets, bucket.user_hash_U[rows], side_N=side)
