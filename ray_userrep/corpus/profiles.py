"""What a log knows of users beside what they did, as columns beside their interactions.

A value of a user stands at each of the user's interactions: whatever cuts, deals out, stores or serves histories then
carries the profile along as it carries prices, at eight bytes an interaction and attribute. Values are hashes of what
they are as text, so that no vocabulary is kept and any log's users are read alike. Each bucket that is read with a
profile costs a pass over the table of users.

Shapes: U users of a bucket, N values.
"""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.errors import UserError

MOST_VALUES = 100
_PREFIX = "user."  # no column of interactions is called so


def stored_name(attribute: str) -> str:
    """What the column beside interactions is called in which an attribute of users stands."""
    return f"{_PREFIX}{attribute}"


def attributes_of(side: Sequence[str]) -> list[str]:
    """The attributes of users among the names of columns beside interactions."""
    return [name.removeprefix(_PREFIX) for name in side if name.startswith(_PREFIX)]


def refuse_unprofiled(names: Sequence[str], columns: Collection[str], log: str) -> None:
    """Check that a log's table of users has these columns.

    Raises:
        UserError: it has not, or there is none.
    """
    there = [column for column in columns if column != "user_id"]
    if names and not there:
        raise UserError(
            f"encoder.profile {names[0]}: {log} has no table of users: put users.csv (user_id and attributes) beside "
            "the log, or leave encoder.profile out"
        )
    if missing := next((name for name in names if name not in there), None):
        raise UserError(f"encoder.profile: no {missing!r} among the users' columns {', '.join(there)} of {log}")


def refuse_too_many(name: str, values: pa.ChunkedArray) -> None:
    """Check that a column tells groups of users, not single ones.

    Raises:
        UserError: it has too many values, or lists.
    """
    if pa.types.is_nested(values.type):
        raise UserError(f"encoder.profile {name}: its values are lists or records, where one value is read")
    if (found := len(values.unique())) > MOST_VALUES:
        raise UserError(
            f"encoder.profile {name}: it has {found:,} values, more than {MOST_VALUES}: group them in the table of "
            "users, as ages by decades, or leave it out"
        )


def profile_hashes(values: pa.Array) -> NDArray[np.int64]:
    """A hash of each value as text, 0 where nothing is known, `[N]`."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    is_known_N = values.is_valid().to_numpy(zero_copy_only=False)
    return np.where(is_known_N, hash_ids(values.cast(pa.string()).fill_null("")), 0)


def profiles_of(users: pa.Table, names: Sequence[str], hashes_U: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """What `profile_hashes` makes of attributes of these users, 0 of those whom the table lacks, `[U]` by name."""
    known = hash_ids(users["user_id"])
    order = np.argsort(known)
    place_U = np.searchsorted(known[order], hashes_U)
    is_there_U = np.append(known[order], 0)[place_U] == hashes_U
    values = {name: np.append(profile_hashes(users[name].combine_chunks())[order], 0) for name in names}
    return {name: np.where(is_there_U, found[place_U], 0) for name, found in values.items()}
