"""What every user's rank was, kept beside a result: so that runs made on different days can be compared user by user.

A row a target: the user's hash, the item to be found, its slice of the catalogue, and its rank by each system. It costs
a few bytes a user.

Shapes: W targets.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.errors import UserError

_FILE = "ranks.parquet"
_KEYS = ["user", "target", "slice"]


class Ranks(NamedTuple):
    """Users (hashes), items and slices (places in `SLICES`) of the targets, and the ranks by every system, `[W]`."""

    users_W: NDArray[np.int64]
    targets_W: NDArray[np.int64]
    slices_W: NDArray[np.int64]
    by_system: dict[str, NDArray[np.int64]]


def write_ranks(folder: str, ranks: Ranks) -> None:
    """Keep ranks in a folder, in the order of users and targets."""
    order = np.lexsort((ranks.targets_W, ranks.users_W))
    keys = dict(zip(_KEYS, (column_W[order] for column_W in ranks[:3]), strict=True))
    columns = {name: pa.array(ranks_W[order].astype(np.int32)) for name, ranks_W in ranks.by_system.items()}
    table = pa.table(keys | columns)
    storage.write_parquet(storage.join(folder, _FILE), table)


def read_ranks(folder: str) -> Ranks:
    """The ranks of a run's folder.

    Raises:
        UserError: there are none, or none with slices.
    """
    place = storage.join(storage.absolute(folder), _FILE)
    if not storage.exists(place):
        raise UserError(f"{folder} has no {_FILE}: runs of pretrain and evaluate have one; evaluate its encoder again")
    table = storage.read_parquet(place)
    if table.column_names[:3] != _KEYS:
        raise UserError(f"{place} was not written by this version: evaluate the run's encoder again")
    users_W, targets_W, slices_W, *others = (column.to_numpy().astype(np.int64) for column in table.columns)
    return Ranks(users_W, targets_W, slices_W, dict(zip(table.column_names[3:], others, strict=True)))
