"""Reading what is ranked out of a corpus: histories with their held-out targets, and what baselines learn from.

All users measured are held in memory as flat arrays; `max_users` bounds them, chosen by hash, so that every run and
every worker measures the same ones.
"""

from collections.abc import Sequence

import numpy as np

from ray_userrep.corpus.splits import Split, SplitPart
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.evaluation.data import Histories, Sequences


def read_histories(
    corpus: Corpus, split: Split, part: SplitPart, max_users: int | None, side: Sequence[str] = ()
) -> Histories:
    """The targets of this part of the split, each with everything known before it; a user may have several."""
    buckets = (corpus.bucket(number, side) for number in corpus.buckets())
    histories = Histories.concat([_histories(bucket, split, part) for bucket in buckets])
    users = np.unique(histories.users_U.view(np.uint64))
    if max_users is None or len(users) <= max_users:
        return histories
    return histories.take(np.flatnonzero(histories.users_U.view(np.uint64) <= users[max_users - 1]))


def read_train(corpus: Corpus, split: Split, before: SplitPart, side: Sequence[str] = ()) -> Sequences:
    """All users' interactions that may be learned from before a part's targets: what a baseline counts."""
    buckets = (corpus.bucket(number, side) for number in corpus.buckets())
    return Sequences.concat([sequences_of(split.learned(bucket, before)) for bucket in buckets])


def read_known(corpus: Corpus, split: Split, side: Sequence[str] = ()) -> Sequences:
    """All users' interactions that are known when the test begins, also of users who are never learned from."""
    buckets = (corpus.bucket(number, side) for number in corpus.buckets())
    return Sequences.concat([sequences_of(split.known(bucket)) for bucket in buckets])


def _histories(bucket: Bucket, split: Split, part: SplitPart) -> Histories:
    known, targets = split.targets(bucket, part)
    return Histories(
        known.items_N, known.timestamps_N, known.offsets_U1, known.user_hash_U, targets_U=targets, side_N=known.side_N
    )


def sequences_of(bucket: Bucket) -> Sequences:
    """A bucket's users as they are."""
    return Sequences(bucket.items_N, bucket.timestamps_N, bucket.offsets_U1, bucket.user_hash_U, side_N=bucket.side_N)
