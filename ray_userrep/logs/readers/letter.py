"""LETTER's JSON files: `NAME.inter.json` maps each user to its items in order, `NAME.item.json` describes the items.

Each is one document, which a single process holds in memory: the layout is made for sets of that size. Order without
time, see `untimed`. Items have their title as `text`, and what else is told of them under its own name.
"""

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import ColumnMapping, canonicalise
from ray_userrep.logs.dimensions import read_document
from ray_userrep.logs.files import stem
from ray_userrep.logs.hive import refuse_range
from ray_userrep.logs.ids import convert_ids, id_type
from ray_userrep.logs.parts import whole
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import COLUMNS, unroll
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_INTERACTIONS = ".inter.json"
_ITEMS = ".item.json"


def recognise(names: list[str]) -> bool:
    """A `NAME.inter.json`."""
    return any(stem(name).endswith(_INTERACTIONS) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of one data set.

    Raises:
        UserError: there is not exactly one data set, or a file is not what it should be.
    """
    logs = [file for file in files if stem(file.uri).endswith(_INTERACTIONS)]
    if len(logs) != 1:
        raise UserError(
            f"one NAME{_INTERACTIONS} is needed, {len(files)} files hold {len(logs)}: "
            "put each data set into a folder of its own"
        )
    if config.columns:
        raise UserError(f"logs.columns: LETTER's layout has no columns to map, got {config.columns}")
    refuse_range(config, logs[0].uri)
    raw = _histories(logs[0])
    is_text = config.ids == "string"
    user_type, item_type = (
        pa.string() if is_text else id_type(raw[name], name, logs[0].uri) for name in ("user", "item")
    )
    rows = canonicalise(raw, ColumnMapping(COLUMNS, user_type, item_type), logs[0].uri, 0)
    described = f"{stem(logs[0].uri).removesuffix(_INTERACTIONS)}{_ITEMS}"
    items = next((_items(file, item_type) for file in files if stem(file.uri) == described), None)
    return Tables(whole(rows), items, None, "row")


def _histories(file: FileEntry) -> pa.Table:
    document = read_document(file)
    wrong = UserError(f'{file.uri} is not in LETTER\'s layout, {{"user": [item, …], …}}')
    if not isinstance(document, dict) or not all(isinstance(items, list) for items in document.values()):
        raise wrong
    filled = {user: items for user, items in document.items() if items}
    if not filled:
        raise UserError(f"the log is empty: no rows in {file.uri}")
    try:
        return unroll(pa.array(list(filled)), pa.array(list(filled.values())))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise wrong from error


def _items(file: FileEntry, kind: pa.DataType) -> pa.Table:
    told = read_document(file)
    names = dict.fromkeys(name for about in told.values() for name in about)
    columns = {"text" if name == "title" else name: [about.get(name) for about in told.values()] for name in names}
    ids = convert_ids(pa.chunked_array([pa.array(list(told))]), kind, "item", file.uri)
    return pa.table({"item_id": ids, **columns})
