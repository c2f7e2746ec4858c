"""Users out of a folder that an export wrote: only files that hold some are written again, each in one step.

A reader that opens the folder meanwhile finds some files with the users and some without; the summary comes last.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.embedding.outputs import RECOMMENDED, SCORED, SUMMARY
from ray_userrep.embedding.tables import FORMAT
from ray_userrep.errors import UserError


def refuse_no_vectors(folder: str, named: str) -> None:
    """Check that a folder is what an export wrote; errors call it by the option that `named` it.

    Raises:
        UserError: it is not, or a newer version wrote it.
    """
    place = _summary(folder)
    if place is None:
        raise UserError(
            f"{named}: no {storage.join(folder, SUMMARY)}: name the output folder of an embed, recommend or predict "
            "that ended"
        )
    storage.refuse_newer(storage.read_object(place).get("format"), FORMAT, f"{named}: {folder}")


def erase_vectors(folder: str, ids: pa.Array) -> int:
    """Remove the rows of users from a folder of vectors; returns how many users had some."""
    lost: dict[str, int] = {"rows": 0, "users": 0}
    for entry in storage.list_files(folder, ".parquet"):
        users = storage.read_parquet(entry.uri, ["user_id"])["user_id"]
        if not pc.any(pc.is_in(users, value_set=ids.cast(users.type))).as_py():
            continue
        table = storage.read_parquet(entry.uri)
        is_gone = pc.is_in(table["user_id"], value_set=ids.cast(users.type))
        lost["rows"] += pc.sum(is_gone).as_py()
        lost["users"] += pc.count_distinct(table["user_id"].filter(is_gone)).as_py()
        storage.write_parquet(entry.uri, table.filter(pc.invert(is_gone)), dictionary=False)
    place = _summary(folder)
    assert place is not None, "that it has one was looked at before"
    summary = storage.read_object(place)
    storage.write_json(place, summary | {name: summary[name] - count for name, count in lost.items()})
    return lost["users"]


def _summary(folder: str) -> str | None:
    places = (storage.join(folder, name) for name in (SUMMARY, RECOMMENDED, SCORED))
    return next((place for place in places if storage.exists(place)), None)
