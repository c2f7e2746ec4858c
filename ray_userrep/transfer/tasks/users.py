"""Dealing users into training, validation and test: by a hash of their id, so that none is ever in two of them.

Being a hash, the deal is the same in every version of a corpus and on every machine; the price is that the parts have
about, not exactly, the shares that were asked for.

Shapes: U users.
"""

import hashlib
import json
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError

_PART, _ORDER = 40, 41  # what a draw is for


class UserParts(NamedTuple):
    """Rows of the users in each part; those of training in the order in which smaller shares take them."""

    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]


def deal(users_U: NDArray[np.int64], valid_share: float, test_share: float, seed: int) -> UserParts:
    """Deal users out by their stable hashes."""
    draw_U = draws.uniforms(_PART, seed, users_U)
    is_test_U, is_valid_U = draw_U < test_share, (draw_U >= test_share) & (draw_U < test_share + valid_share)
    return as_dealt(users_U, np.where(is_test_U, "test", np.where(is_valid_U, "valid", "train")), seed)


def as_dealt(users_U: NDArray[np.int64], parts_U: NDArray[np.str_], seed: int) -> UserParts:
    """Rows by the part that each is in; the order of training goes by users, so that all rows of one come together."""
    order = np.argsort(draws.bits(_ORDER, seed, users_U), kind="stable")
    return UserParts(
        order[parts_U[order] == "train"], np.flatnonzero(parts_U == "valid"), np.flatnonzero(parts_U == "test")
    )


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
        bucket = corpus.outline(number)
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


def fingerprint(*keys: str | int | float | list[int]) -> str:
    """A short name of what is trained on."""
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:16]
