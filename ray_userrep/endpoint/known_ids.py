"""Ids of stored users, as they stand in addresses, to be found among many: a look-up compares one id or two.

A dictionary of them would take ten times the memory of the ids; here a hash of each lies beside them, in order.
"""

import numpy as np
import pyarrow as pa

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.endpoint.refusals import NotFound


class KnownIds:
    """Ids, and where each is; `called` says what they are those of."""

    def __init__(self, ids: pa.Array, called: str) -> None:
        self._ids, self._called = ids, called
        hashes_U = hash_ids(ids)
        self._order_U = np.argsort(hashes_U, kind="stable")
        self._hashes_U = hashes_U[self._order_U]

    def __len__(self) -> int:
        return len(self._ids)

    def row(self, user: str) -> int:
        """Where a user is.

        Raises:
            NotFound: nowhere.
        """
        refusal = NotFound(f"user {user!r} is not among the {len(self):,} of {self._called}")
        try:
            wanted = pa.array([user]).cast(self._ids.type)
        except pa.ArrowInvalid:
            raise refusal from None
        low, high = (int(np.searchsorted(self._hashes_U, hash_ids(wanted)[0], side)) for side in ("left", "right"))
        for row in self._order_U[low:high].tolist():
            if self._ids[row] == wanted[0]:
                return int(row)
        raise refusal
