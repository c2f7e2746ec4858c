"""What every user's rank was, kept beside a result: so that runs made on different days can be compared user by user.

A row a target: the user's hash, the item to be found, and its rank by each system. It costs a few bytes a user.

Shapes: W targets.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.errors import UserError

_FILE = "ranks.parquet"


class Ranks(NamedTuple):
    """Users (hashes) and items of the targets, `[W]`, and the rank of each by every system, `[W]`."""

    users_W: NDArray[np.int64]
    targets_W: NDArray[np.int64]
    by_system: dict[str, NDArray[np.int64]]


def write_ranks(
    folder: str,
    users_W: NDArray[np.int64],
    targets_W: NDArray[np.int64],
    by_system: Mapping[str, NDArray[np.int64]],
) -> None:
    """Keep ranks in a folder, in the order of users and targets."""
    order = np.lexsort((targets_W, users_W))
    columns = {name: pa.array(ranks_W[order].astype(np.int32)) for name, ranks_W in by_system.items()}
    table = pa.table({"user": users_W[order], "target": targets_W[order]} | columns)
    storage.write_parquet(storage.join(folder, _FILE), table)


def read_ranks(folder: str) -> Ranks:
    """The ranks of a run's folder.

    Raises:
        UserError: there are none.
    """
    place = storage.join(storage.absolute(folder), _FILE)
    if not storage.exists(place):
        raise UserError(f"{folder} has no {_FILE}: runs of pretrain and evaluate have one; evaluate its encoder again")
    table = storage.read_parquet(place)
    users_W, targets_W, *others = (column.to_numpy().astype(np.int64) for column in table.columns)
    return Ranks(users_W, targets_W, dict(zip(table.column_names[2:], others, strict=True)))
