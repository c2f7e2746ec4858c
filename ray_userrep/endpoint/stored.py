"""What `embed` stored of users, to be found by their ids: newer events are added to it.

The numbers lie in a file of this machine that is mapped, not in memory: a look-up reads one row of it. In memory are
the ids and a hash of each. All is read once, when a replica starts: a newer folder is served by serving it anew.

Shapes: U users, S numbers stored of a user.
"""

import tempfile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.embedding.outputs import SUMMARY
from ray_userrep.embedding.tables import FORMAT
from ray_userrep.embedding.update import read_remembered
from ray_userrep.endpoint.known_ids import KnownIds
from ray_userrep.errors import UserError


class Stored(NamedTuple):
    """What is stored of a user, `[1, S]`, and of how many interactions it is made."""

    sums_1S: NDArray[np.float32]
    interactions: int


def check_stored(folder: str, encoder_fingerprint: str) -> int:
    """The number of users of a folder, which has sums and is of this encoder.

    Raises:
        UserError: it is none.
    """
    place = storage.join(folder, SUMMARY)
    if not storage.exists(place):
        raise UserError(f"serve.vectors: no {place}: name the output folder of an embed that ended")
    summary = storage.read_object(place)
    storage.refuse_newer(summary.get("format"), FORMAT, f"serve.vectors: {folder}")
    if not summary.get("sums"):
        raise UserError(f"serve.vectors: {folder} has no sums: embed with embedding.sums true")
    if summary["encoder_fingerprint"] != encoder_fingerprint:
        raise UserError(f"serve.vectors: {folder} is of another encoder: embed with the one that is served")
    return int(summary["users"])


class StoredSums:
    """The users of a folder of vectors with sums."""

    def __init__(self, folder: str, encoder_fingerprint: str) -> None:
        num_users = check_stored(folder, encoder_fingerprint)
        ids, self._lengths_U, first = [], np.zeros(num_users, np.int64), 0
        place = tempfile.TemporaryFile()  # noqa: SIM115 — it lives as long as the map
        for file in storage.list_files(folder, ".parquet"):
            users = read_remembered(file.uri)
            if first == 0:
                shape = (num_users, users.sums_US.shape[1])
                self._sums_US = np.memmap(place, np.float32, "w+", shape=shape)
            last = first + len(users.user_ids)
            self._sums_US[first:last], self._lengths_U[first:last] = users.sums_US, users.lengths_U
            ids.append(users.user_ids)
            first = last
        assert first == num_users, "the summary is written last"
        self._ids = KnownIds(pa.concat_arrays(ids), "the stored vectors")

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, user: str) -> Stored:
        """What is stored of a user.

        Raises:
            NotFound: nothing is.
        """
        row = self._ids.row(user)
        return Stored(np.array(self._sums_US[row : row + 1]), int(self._lengths_U[row]))
