"""Book-Crossing in the Case Recommender project's cut: `book_history.dat` with its users and items, also zipped.

The history is read; ratings, which a quarter of its rows have in a file of their own, are left out. Items have the
title as text, author, year and publisher; users have location and age. No time, see `untimed`.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat, stem
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import LINES, only, text_lines, untimed
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_HISTORY = "book_history.dat"
_USERS = CsvFormat("\t", ("user_id", "location", "age", "_"), quoted=False)  # lines end with a tab, the header does not
_ITEMS = ("item_id", "isbn", "text", "author", "year", "publisher")


def recognise(names: list[str]) -> bool:
    """A `book_history.dat`."""
    return any(stem(name) == _HISTORY for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables; books and readers only where their files are there.

    Raises:
        UserError: there is no history.
    """
    history, items, users = (only(files, name) for name in (_HISTORY, "items_info.dat", "users_info.dat"))
    if not history:
        raise UserError(f"no {_HISTORY} among {len(files)} files")
    found = scan(config, history, untimed("user", "item", {}))
    return Tables(
        found.parts(),
        _items(items, found.mapping.item_type) if items else None,
        _users(users, found.mapping.user_type) if users else None,
        found.order,
    )


def _items(files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    # An ampersand was `&amp;` in a file that was separated by semicolons.
    lines = pc.replace_substring(text_lines(read_whole(files, LINES).slice(1)), "&amp\t", "&")
    fields = pc.split_pattern(lines.filter(pc.greater(pc.count_substring(lines, "\t"), len(_ITEMS))), "\t")
    table = pa.table({name: pc.list_element(fields, place) for place, name in enumerate(_ITEMS)})
    return keyed(table, "item_id", kind, files[0].uri)


def _users(files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    table = read_whole(files, _USERS).select(["user_id", "location", "age"])
    return keyed(table.set_column(2, "age", table["age"].cast(pa.int64())), "user_id", kind, files[0].uri)
