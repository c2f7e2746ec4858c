"""LETTER's JSON files: `NAME.inter.json` maps each user to its items in order, `NAME.item.json` describes the items.

Each is one document, which a single process holds in memory: the layout is made for sets of that size. Order without
time, see `sequences`. Items have their title as `text`, and what else is told of them under its own name.
"""

import pyarrow as pa
import ray.data

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import Mapping, canonicalise
from ray_userrep.logs.config import LogsConfig
from ray_userrep.logs.documents import read_document
from ray_userrep.logs.files import stem
from ray_userrep.logs.ids import convert_ids, id_type
from ray_userrep.logs.sequences import COLUMNS, unroll
from ray_userrep.logs.source import Tables
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
    raw = _histories(logs[0])
    is_text = config.ids == "string"
    user_type, item_type = (
        pa.string() if is_text else id_type(raw[name], name, logs[0].uri) for name in ("user", "item")
    )
    rows = canonicalise(raw, Mapping(COLUMNS, user_type, item_type), logs[0].uri, 0)
    described = f"{stem(logs[0].uri).removesuffix(_INTERACTIONS)}{_ITEMS}"
    items = next((_items(file, item_type) for file in files if stem(file.uri) == described), None)
    return Tables(ray.data.from_arrow(rows), items, None)


def _histories(file: FileEntry) -> pa.Table:
    document = read_document(file)
    try:
        rows = unroll(pa.array(list(document)), pa.array(list(document.values())))
    except (AttributeError, TypeError, pa.ArrowInvalid) as error:
        raise UserError(f'{file.uri} is not in LETTER\'s layout, {{"user": [item, …], …}}: {error}') from error
    if not rows.num_rows:
        raise UserError(f"the log is empty: no rows in {file.uri}")
    return rows


def _items(file: FileEntry, kind: pa.DataType) -> pa.Table:
    told = read_document(file)
    table = pa.Table.from_pylist([{"item_id": item, **about} for item, about in told.items()])
    ids = convert_ids(table["item_id"], kind, "item", file.uri)
    table = table.set_column(table.column_names.index("item_id"), "item_id", ids)
    return table.rename_columns(["text" if name == "title" else name for name in table.column_names])
