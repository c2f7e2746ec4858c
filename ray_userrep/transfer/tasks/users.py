"""Which of a task's users are trained on: shares of them, and what is left of each.

Shapes: U users.
"""

import hashlib
import json
from collections.abc import Callable
from math import ceil

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError


def first_share(rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The first share of the rows, at least one of any; a smaller share is a part of a larger one."""
    return rows[: ceil(round(share * len(rows), 6))]


def refuse_few(task: str, part: str, num_users: int, least: int) -> None:
    """Refuse a part of too few users.

    Raises:
        UserError: that is the case.
    """
    if num_users < least:
        raise UserError(
            f"transfer.task {task}: {num_users} users {part}, fewer than transfer.task.min_examples {least}: "
            "take larger transfer.label_shares or another task, or lower transfer.task.min_examples"
        )


def ids_of(corpus: Corpus, users_U: NDArray[np.int64]) -> pa.Array:
    """The ids of users of a corpus, by their stable hashes; of each bucket only theirs are held."""
    ids, hashes = [], [np.zeros(0, np.int64)]
    for number in corpus.buckets():
        bucket = corpus.outline(number, days=False)
        is_asked_U = np.isin(bucket.user_hash_U, users_U)
        ids.append(bucket.user_ids.filter(pa.array(is_asked_U)))
        hashes.append(bucket.user_hash_U[is_asked_U])
    known_U = np.concatenate(hashes)
    order = np.argsort(known_U)
    return pa.concat_arrays(ids).take(pa.array(order[np.searchsorted(known_U[order], users_U)]))


class ChosenUsers:
    """Some users of a corpus, each with what a rule leaves of them; others have nothing to train on."""

    def __init__(
        self, users_U: NDArray[np.int64], training: Callable[[Bucket], tuple[Bucket, NDArray[np.int64]]]
    ) -> None:
        self._users_U = users_U
        self._training = training

    def training(self, bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        """What windows are cut from, and how much of each user is trained on; rows are the bucket's."""
        cut, lengths_U = self._training(bucket)
        return cut, np.where(np.isin(bucket.user_hash_U, self._users_U), lengths_U, 0)

    def train_lengths(self, corpus: Corpus, number: int) -> NDArray[np.int64]:
        """How much of each user of a bucket is trained on."""
        return self.training(corpus.bucket(number))[1]


def known_users(users_U: NDArray[np.int64], split: Split) -> ChosenUsers:
    """Some users of a corpus, each with everything known when the split's test begins."""

    def known(bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        before = split.known(bucket)
        return before, before.lengths_U

    return ChosenUsers(users_U, known)


def fingerprint(*keys: str | int | float | list[int]) -> str:
    """A short name of what is trained on."""
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]
