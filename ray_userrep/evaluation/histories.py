"""What is evaluated on, read out of a corpus: jagged sequences, and histories with the item that came next.

All users measured are held in memory as flat arrays; `max_users` bounds them, chosen by hash, so that every run and
every worker measures the same ones.

Shapes: U users, N interactions of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
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
        per_user = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name[-2:] == "_U"}
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
        names = [f.name for f in fields(cls) if f.name not in ("offsets_U1", "side_N")]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        filled = [part for part in parts if part.num_users] or parts[:1]
        side = {name: np.concatenate([part.side_N[name] for part in filled]) for name in filled[0].side_N}
        return cls(offsets_U1=np.concatenate([[0], np.cumsum(lengths)]), side_N=side, **columns)


@dataclass(frozen=True)
class Histories(Sequences):
    """What each user did before the item to be predicted, and that item."""

    targets_U: NDArray[np.int64]


def read_histories(
    corpus: Corpus, split: Split, part: SplitPart, max_users: int | None, side: Sequence[str] = ()
) -> Histories:
    """The targets of this part of the split, each with everything known before it; a user may have several."""
    buckets = (corpus.bucket(number, side) for number in corpus.buckets())
    return Histories.concat([_histories(bucket, split, part) for bucket in buckets]).at_most(max_users)


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
