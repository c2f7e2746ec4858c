"""MyAnimeList in the Case Recommender project's cut: `anime_history.dat` and `anime_info.dat`, also zipped.

The history is read; ratings, which most of its rows have in a file of their own, are left out. Items have the name as
text, their genres joined by `|` as category, and their type. No time, see `untimed`.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import stem
from ray_userrep.logs.scan import scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import TABS, only, untimed
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_HISTORY = "anime_history.dat"


def recognise(names: list[str]) -> bool:
    """An `anime_history.dat`."""
    return any(stem(name) == _HISTORY for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables; items only where their file is there.

    Raises:
        UserError: there is no history.
    """
    history, items = only(files, _HISTORY), only(files, "anime_info.dat")
    if not history:
        raise UserError(f"no {_HISTORY} among {len(files)} files")
    found = scan(config, history, untimed("User_ID", "Anime_ID", {}))
    return Tables(found.parts(), _items(items, found.mapping.item_type) if items else None, None, found.order)


def _items(files: list[FileEntry], kind: pa.DataType) -> pa.Table:
    table = read_whole(files, TABS).select(["anime_ids", "name", "genre", "type"])
    table = table.rename_columns(["item_id", "text", "category", "type"])
    return keyed(
        table.set_column(2, "category", pc.replace_substring(table["category"], ", ", "|")),
        "item_id",
        kind,
        files[0].uri,
    )
