"""What evaluation works on: jagged sequences, and histories with the item that came next.

Shapes: U users, N interactions of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges


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
