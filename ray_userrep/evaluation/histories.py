"""What is evaluated on, read out of a corpus: jagged sequences, and histories with the item that came next.

Users are held in memory as flat arrays; `max_users` bounds them, chosen by hash, so that every run and every worker
takes the same ones. Buckets are read one after the other, and of each only the users who may still be chosen are kept:
memory is that of the sample and a bucket, whatever the log. The price is that all of the log is read for a sample.

Shapes: U users, N interactions of all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Split, SplitPart
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError


@dataclass(frozen=True)
class Sequences:
    """Users' interactions end to end: item indices, times (us) and side columns, oldest first.

    `users_U` are stable hashes; `chosen_from` says of how many users these are a sample, None where they are all.
    """

    items_N: NDArray[np.int64]
    times_N: NDArray[np.int64]
    offsets_U1: NDArray[np.int64]
    users_U: NDArray[np.int64]
    side_N: dict[str, NDArray[np.generic]] = field(default_factory=dict, kw_only=True)
    chosen_from: int | None = field(default=None, kw_only=True)

    @property
    def num_users(self) -> int:
        return len(self.users_U)

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        return np.diff(self.offsets_U1)

    def take(self, rows: NDArray[np.integer]) -> Self:
        """The given users, in that order."""
        lengths = self.lengths_U[rows]
        kept = ranges(self.offsets_U1[rows], lengths)
        per_user: dict[str, Any] = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name[-2:] == "_U"}
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        side = {name: column[kept] for name, column in self.side_N.items()}
        return type(self)(
            items_N=self.items_N[kept], times_N=self.times_N[kept], offsets_U1=offsets, side_N=side, **per_user
        )

    def at_most(self, max_users: int | None) -> Self:
        """The users of the smallest hashes, so many of them."""
        users = np.unique(self.users_U.view(np.uint64))
        if max_users is None or len(users) <= max_users:
            return self
        return self.take(np.flatnonzero(self.users_U.view(np.uint64) <= users[max_users - 1]))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Users of several parts, end to end."""
        lengths = np.concatenate([part.lengths_U for part in parts])
        names = [f.name for f in fields(cls) if f.name not in ("offsets_U1", "side_N", "chosen_from")]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        filled = [part for part in parts if part.num_users] or parts[:1]
        side = {name: np.concatenate([part.side_N[name] for part in filled]) for name in filled[0].side_N}
        return cls(offsets_U1=np.concatenate([[0], np.cumsum(lengths)]), side_N=side, **columns)

    @classmethod
    def sample(cls, parts: Iterable[Self], max_users: int | None) -> Self:
        """The users of the smallest hashes of all parts; a user is in one part, twice as many are held at most."""
        held: list[Self] = []
        num_held = num_users = 0
        highest = np.uint64(2**64 - 1)
        for part in parts:
            num_users += len(np.unique(part.users_U))
            held.append(part.take(np.flatnonzero(part.users_U.view(np.uint64) <= highest)))
            num_held += len(np.unique(held[-1].users_U))
            if max_users is not None and num_held > 2 * max_users:
                held, num_held = [cls.concat(held).at_most(max_users)], max_users
                highest = held[0].users_U.view(np.uint64).max()
        found = cls.concat(held).at_most(max_users)
        return found if max_users is None or num_users <= max_users else replace(found, chosen_from=num_users)


@dataclass(frozen=True)
class Histories(Sequences):
    """What each user did before the item to be predicted, and that item."""

    targets_U: NDArray[np.int64]


def read_histories(
    corpus: Corpus, split: Split, part: SplitPart, max_users: int | None, side: Sequence[str] = ()
) -> Histories:
    """The targets of this part of the split, each with everything known before it; a user may have several."""
    return Histories.sample((_histories(bucket, split, part) for bucket in _buckets(corpus, side)), max_users)


_PURPOSES: dict[SplitPart, str] = {"valid": "validate on", "test": "test on"}


def refuse_unmeasured(corpus: Corpus, split: Split, rule: str, parts: Sequence[SplitPart] = ("valid", "test")) -> None:
    """Refuse a split that leaves a part without users; buckets are read up to the first that has one.

    Raises:
        UserError: it does; the message names the split's rule.
    """
    for part in parts:
        if not any(len(split.targets(corpus.bucket(number), part)[1]) for number in corpus.buckets()):
            raise UserError(
                f"no user of {corpus.uri} has an interaction to {_PURPOSES[part]}: split.rule {rule} needs more"
            )


def read_train(
    corpus: Corpus,
    split: Split,
    before: SplitPart,
    side: Sequence[str] = (),
    max_users: int | None = None,
    least: int = 0,
) -> Sequences:
    """Users' interactions that may be learned from before a part's targets: what a baseline counts.

    Users with fewer than the `least` of them are left out.
    """
    learned = (sequences_of(split.learned(bucket, before)) for bucket in _buckets(corpus, side))
    return Sequences.sample((users.take(np.flatnonzero(users.lengths_U >= least)) for users in learned), max_users)


def read_known(
    corpus: Corpus, split: Split, side: Sequence[str] = (), max_users: int | None = None, least: int = 0
) -> Sequences:
    """Users' interactions that are known when the test begins, also of users who are never learned from.

    Users with fewer than the `least` of them are left out.
    """
    known = (sequences_of(split.known(bucket)) for bucket in _buckets(corpus, side))
    return Sequences.sample((users.take(np.flatnonzero(users.lengths_U >= least)) for users in known), max_users)


def _buckets(corpus: Corpus, side: Sequence[str]) -> Iterable[Bucket]:
    return (corpus.bucket(number, side) for number in corpus.buckets())


def _histories(bucket: Bucket, split: Split, part: SplitPart) -> Histories:
    known, targets = split.targets(bucket, part)
    return Histories(
        known.items_N, known.timestamps_N, known.offsets_U1, known.user_hash_U, targets_U=targets, side_N=known.side_N
    )


def sequences_of(bucket: Bucket) -> Sequences:
    """A bucket's users as they are."""
    return Sequences(bucket.items_N, bucket.timestamps_N, bucket.offsets_U1, bucket.user_hash_U, side_N=bucket.side_N)
