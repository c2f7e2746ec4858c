"""Who is related to whom among the users of a corpus: a table of neighbours by user hash, for batches to look into.

Relations are taken as mutual, whatever side of them a log tells: a friend's friend is one in either direction. Eight
bytes a user and sixteen a relation are held in memory. Friends of friends are worked out for the users that are asked
about; of a user who knows one with a million relations they are a million.

Shapes: U users who are related to somebody, E relations both ways, B users of a batch, P pairs that are found.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.jagged import ranges
from ray_userrep.errors import UserError

Rows = NDArray[np.int64]
Whole = TypeVar("Whole", bound=Any)  # whole numbers, of numpy or of torch
NOBODY = -1
_CURE = "put relations.csv (user_id, other_id) beside the log, or leave objective.kind social out"


class Relations(NamedTuple):
    """Users by rising hash; the others that each is related to, as their rows, in rising order."""

    users_U: Rows
    offsets_U1: Rows
    others_E: Rows

    @classmethod
    def of(cls, table: pa.Table, kinds: Sequence[str] = ()) -> Self:
        """The relations of a corpus's table, of some kinds or of all."""
        if kinds:
            table = table.filter(pc.is_in(table["kind"], value_set=pa.array(kinds, pa.string())))
        sides = [hash_ids(table[name].combine_chunks()) for name in ("user_id", "other_id")]
        users_U, rows = np.unique(np.concatenate(sides), return_inverse=True)
        one_E, other_E = np.split(rows.reshape(-1), 2)
        return cls._from(users_U, np.concatenate([one_E, other_E]), np.concatenate([other_E, one_E]))

    @classmethod
    def _from(cls, users_U: Rows, from_E: Rows, to_E: Rows) -> Self:
        pairs = np.unique(from_E * len(users_U) + to_E)
        from_E, to_E = np.divmod(pairs, max(1, len(users_U)))
        return cls(users_U, np.searchsorted(from_E, np.arange(len(users_U) + 1)), to_E)

    def rows(self, users_B: NDArray[np.int64]) -> Rows:
        """The row of each user, by hash; `NOBODY` where a user is related to none, `[B]`."""
        if not len(self.users_U):
            return np.full(len(users_B), NOBODY)
        place_B = np.searchsorted(self.users_U, users_B).clip(max=len(self.users_U) - 1)
        return np.where(self.users_U[place_B] == users_B, place_B, NOBODY)

    def towards(self, is_wanted_U: NDArray[np.bool_]) -> Self:
        """Only the relations to wanted users; rows stay as they are."""
        from_E = np.repeat(np.arange(len(self.users_U)), np.diff(self.offsets_U1))
        kept = is_wanted_U[self.others_E]
        return self._from(self.users_U, from_E[kept], self.others_E[kept])

    def drawn(self, rows_B: Rows, draw_B: NDArray[np.float64]) -> Rows:
        """One of the others that each user is related to, by a number in [0, 1); `NOBODY` where there is none."""
        known_B = rows_B.clip(min=0)
        first_B = self.offsets_U1[known_B]
        number_B = np.where(rows_B == NOBODY, 0, self.offsets_U1[known_B + 1] - first_B)
        found_B = np.full(len(rows_B), NOBODY)
        has_B = number_B > 0
        found_B[has_B] = self.others_E[(first_B + (draw_B * number_B).astype(np.int64))[has_B]]
        return found_B

    def near(self, rows_B: Rows) -> Rows:
        """Who is related to each of these users, or to one who is: codes of `code`, rising, `[P]`."""
        place, first = self._reached(np.arange(len(rows_B)), rows_B)
        again, second = self._reached(place, first)
        return np.unique(self.code(np.concatenate([place, again]), np.concatenate([first, second])))

    def code(self, place: Whole, rows: Whole) -> Whole:
        """One number for a place among some users and the row of another; `NOBODY`'s is that of no pair."""
        return place * (len(self.users_U) + 1) + rows + 1

    def _reached(self, place: Rows, rows: Rows) -> tuple[Rows, Rows]:
        """The others that users are related to, each with its user's place."""
        place, rows = place[rows != NOBODY], rows[rows != NOBODY]
        lengths = self.offsets_U1[rows + 1] - self.offsets_U1[rows]
        return np.repeat(place, lengths), self.others_E[ranges(self.offsets_U1[rows], lengths)]


def refuse_unrelated(has_relations: bool, uri: str) -> None:
    """Check that a log has relations.

    Raises:
        UserError: it has none.
    """
    if not has_relations:
        raise UserError(f"objective.kind social: {uri} has no relations of users: {_CURE}")
