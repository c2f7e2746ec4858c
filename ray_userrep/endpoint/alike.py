"""The users most like others, out of an index that the job `index` built: approximate where it is large, as it says.

It lies in the memory of each replica as a whole, and is read once, when the replica starts.

Shapes: B histories, F numbers of a vector.
"""

import numpy as np
from numpy.typing import NDArray

from ray_userrep.embedding.index import VectorIndex, faiss, read_about
from ray_userrep.endpoint.known_ids import KnownIds
from ray_userrep.errors import UserError

Found = dict[str, list[list[object]]]


def check_index(folder: str, encoder_uri: str) -> None:
    """Refuse what is no index of users by this encoder.

    Raises:
        UserError: it is none, or faiss is missing.
    """
    faiss()
    if (of := read_about(folder, encoder_uri)["of"]) != "users":
        raise UserError(f"serve.index: {folder} is an index of {of}: build one with --of users")


class UsersAlike:
    """The users of an index."""

    def __init__(self, folder: str, encoder_uri: str) -> None:
        check_index(folder, encoder_uri)
        self._index = VectorIndex.open(folder, encoder_uri)
        self._ids = KnownIds(self._index.ids, "the index")

    def __len__(self) -> int:
        return len(self._ids)

    def to_vectors(self, vectors_BF: NDArray[np.float32], lengths_B: NDArray[np.int64], k: int) -> Found:
        """The nearest `users` of each vector and their `scores`; none of a history of nothing, which is near nobody."""
        found = self._index.nearest(vectors_BF, k).to_pydict()
        return {
            name: [row if length else [] for row, length in zip(rows, lengths_B.tolist(), strict=True)]
            for name, rows in found.items()
        }

    def to_user(self, user: str, k: int) -> dict[str, list[object]]:
        """The nearest `users` of one of them, the user left out, and their `scores`.

        Raises:
            NotFound: there is no such user.
            UserError: there are no `k` others.
        """
        row = self._ids.row(user)
        found = self._index.nearest_rows(np.array([row]), k)
        return {name: lists[0].as_py() for name, lists in found.items()}
