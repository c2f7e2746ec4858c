"""What is evaluated on, read out of a corpus: jagged sequences, and histories with the item that came next.

Users are held in memory as flat arrays; `max_users` bounds them, chosen by hash, so that every run and every worker
takes the same ones. Buckets are read until the sample is full: time and memory are those of the sample and a bucket,
whatever the log, where the number of buckets is a power of two (`corpus.sampling`).

Shapes: U users, N interactions of all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.sampling import follow_one_another, in_order, order_keys
from ray_userrep.corpus.splits import Split, SplitPart
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError


@dataclass(frozen=True)
class Sequences:
    """Users' interactions end to end: item indices, times (us) and side columns, oldest first.

    `users_U` are stable hashes.
    """

    items_N: NDArray[np.int64]
    times_N: NDArray[np.int64]
    offsets_U1: NDArray[np.int64]
    users_U: NDArray[np.int64]
    side_N: dict[str, NDArray[np.generic]] = field(default_factory=dict, kw_only=True)

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

    def at_most(self, max_users: int) -> Self:
        """The first users of the order that samples are taken in, so many of them."""
        key_U = order_keys(self.users_U)
        keys = np.unique(key_U)
        return self if len(keys) <= max_users else self.take(np.flatnonzero(key_U <= keys[max_users - 1]))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Users of several parts, end to end."""
        lengths = np.concatenate([part.lengths_U for part in parts])
        names = [f.name for f in fields(cls) if f.name[-2:] in ("_U", "_N") and f.name != "side_N"]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        filled = [part for part in parts if part.num_users] or parts[:1]
        side = {name: np.concatenate([part.side_N[name] for part in filled]) for name in filled[0].side_N}
        return cls(offsets_U1=np.concatenate([[0], np.cumsum(lengths)]), side_N=side, **columns)

    @classmethod
    def sample(cls, read: Callable[[int], Self], num_buckets: int, max_users: int | None) -> Self:
        """At most so many of the users of all buckets, each in one of them; twice as many and a bucket are held."""
        if max_users is None:
            return cls.concat([read(bucket) for bucket in range(num_buckets)])
        held: dict[int, Self] = {}
        num_held, highest = 0, np.uint64(2**64 - 1)
        for bucket in in_order(num_buckets):
            part = read(bucket)
            held[bucket] = part.take(np.flatnonzero(order_keys(part.users_U) <= highest))
            num_held += len(np.unique(held[bucket].users_U))
            if num_held >= max_users and follow_one_another(num_buckets):
                break
            if num_held > 2 * max_users:
                held, num_held = {bucket: cls.concat(list(held.values())).at_most(max_users)}, max_users
                highest = order_keys(held[bucket].users_U).max()
        return cls.concat([held[bucket] for bucket in sorted(held)]).at_most(max_users)


@dataclass(frozen=True)
class Histories(Sequences):
    """What each user did before the item to be predicted, and that item."""

    targets_U: NDArray[np.int64]


def read_histories(
    corpus: Corpus, split: Split, part: SplitPart, max_users: int | None, side: Sequence[str] = ()
) -> Histories:
    """The targets of this part of the split, each with everything known before it; a user may have several."""

    def read(number: int) -> Histories:
        return _histories(corpus.bucket(number, side), split, part)

    return Histories.sample(read, corpus.manifest.num_buckets, max_users)


def num_asked(corpus: Corpus, split: Split, part: SplitPart) -> int:
    """Of how many users `read_histories` makes a sample; every bucket is looked at, without its sequences."""
    return sum(split.num_asked(corpus, number, part) for number in corpus.buckets())


_PURPOSES: dict[SplitPart, str] = {"valid": "validate on", "test": "test on"}


def refuse_unmeasured(corpus: Corpus, split: Split, rule: str, parts: Sequence[SplitPart] = ("valid", "test")) -> None:
    """Refuse a split that leaves a part without users; buckets are looked at up to the first that has one.

    Raises:
        UserError: it does; the message names the split's rule.
    """
    for part in parts:
        if not any(split.num_asked(corpus, number, part) for number in corpus.buckets()):
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
    return _sample(corpus, lambda bucket: split.learned(bucket, before), side, max_users, least)


def read_known(
    corpus: Corpus, split: Split, side: Sequence[str] = (), max_users: int | None = None, least: int = 0
) -> Sequences:
    """Users' interactions that are known when the test begins, also of users who are never learned from.

    Users with fewer than the `least` of them are left out.
    """
    return _sample(corpus, split.known, side, max_users, least)


def _sample(
    corpus: Corpus, seen: Callable[[Bucket], Bucket], side: Sequence[str], max_users: int | None, least: int
) -> Sequences:
    def read(number: int) -> Sequences:
        users = sequences_of(seen(corpus.bucket(number, side)))
        return users.take(np.flatnonzero(users.lengths_U >= least))

    return Sequences.sample(read, corpus.manifest.num_buckets, max_users)


def _histories(bucket: Bucket, split: Split, part: SplitPart) -> Histories:
    known, targets = split.targets(bucket, part)
    return Histories(
        known.items_N, known.timestamps_N, known.offsets_U1, known.user_hash_U, targets_U=targets, side_N=known.side_N
    )


def sequences_of(bucket: Bucket) -> Sequences:
    """A bucket's users as they are."""
    return Sequences(bucket.items_N, bucket.timestamps_N, bucket.offsets_U1, bucket.user_hash_U, side_N=bucket.side_N)
