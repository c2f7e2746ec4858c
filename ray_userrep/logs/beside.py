"""The tables of items and users beside a log of plain tables: which column is their key, and what the others are.

They are read whole, so they should be small beside the log. Of rows with one key the first counts, which is told; a
table whose rows mostly repeat keys is no table of items or users and is refused.
"""

from typing import NamedTuple

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat, column_names
from ray_userrep.logs.listing import Beside
from ray_userrep.logs.names import keys_among, plain, respelled
from ray_userrep.logs.pictures import IMAGE
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

TEXT = "text"
KEYS: dict[Beside, str] = {"items": "item_id", "users": "user_id"}
_MEANINGS: dict[Beside, tuple[str, ...]] = {"items": (TEXT, "category", "price", IMAGE), "users": ()}
_ID = "id"  # whose, only the table's name says
_MOST_REPEATS = 0.5


class BesideTable(NamedTuple):
    """A table beside the log: its files, and canonical names by its own, that of the key first."""

    kind: Beside
    files: list[FileEntry]
    names: dict[str, str]

    @property
    def place(self) -> str:
        """The first of its files, which stands for all of them in messages."""
        return self.files[0].uri

    @property
    def key(self) -> str:
        """The column of ids as the table calls it."""
        return next(iter(self.names))


def find_columns(config: LogsConfig, kind: Beside, files: list[FileEntry], csv: CsvFormat) -> BesideTable:
    """What the columns of a table mean, by `logs.columns` or their names.

    Raises:
        UserError: no column is the key, or several may be.
    """
    own = column_names(files[0], csv)
    found = {_key(config, kind, own, files[0].uri): KEYS[kind]}
    for name in _MEANINGS[kind]:
        source = next((one for one in own if plain(one) == plain(config.columns.get(name, name))), None)
        if source is not None and source not in found:
            found[source] = name
    return BesideTable(kind, files, found)


def _key(config: LogsConfig, kind: Beside, own: list[str], place: str) -> str:
    asked = [config.columns[name] for name in (KEYS[kind],) if name in config.columns]
    found = keys_among(own, KEYS[kind], asked) or [name for name in own if plain(name) == _ID]
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(repr(name) for name in dict.fromkeys([*asked, KEYS[kind]]))
    told = f"may have its key in {' or '.join(map(repr, found))}" if found else "has no column that is its key"
    raise UserError(
        f"the table of {kind} {place} {told}: call the column of ids {wanted}; its columns are {', '.join(own)}"
    )


def read_beside(table: BesideTable, csv: CsvFormat, kind: pa.DataType) -> pa.Table:
    """One row an id, of the log's type of ids, with canonical names where the table's columns have some.

    Raises:
        UserError: no key is of the log's type, most rows repeat keys, or two columns would have one name.
    """
    rows = read_whole(table.files, csv)
    names = [table.names.get(name, name) for name in respelled(rows.column_names, table.names, table.place)]
    doubled = next((name for name in table.names.values() if names.count(name) > 1), None)
    if doubled is not None:
        own = next(source for source, name in table.names.items() if name == doubled)
        raise UserError(f"{table.place} has the columns {own!r} and {doubled!r}, and both are {doubled}: leave one out")
    rows = rows.rename_columns(names)
    _tell_repeats(rows[KEYS[table.kind]], table)
    return keyed(rows, KEYS[table.kind], kind, table.place)


def _tell_repeats(keys: pa.ChunkedArray, table: BesideTable) -> None:
    """Say of how many rows the key was there before.

    Raises:
        UserError: of most.
    """
    given = keys.drop_null()
    repeats = len(given) - len(given.unique())
    told = f"{table.place}: {repeats:,} of {len(given):,} rows repeat a {table.key!r} of a row before"
    if repeats > _MOST_REPEATS * len(given):
        raise UserError(f"{told}: the table of {table.kind} has one row each; where it is a log, name it with --logs")
    if repeats:
        print(f"warning   {told}; the first row of each is taken", flush=True)
