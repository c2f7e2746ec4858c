"""Any log of one interaction a row: Parquet, delimited text or JSON, in one file or many.

Columns are found by their canonical names or by `logs.columns`. Files named `items.*`, `users.*` and `relations.*` are
the tables beside the log (`item_id`, `text`, ...; `user_id`, ...; `user_id`, `other_id`, and perhaps `kind`); they are
read whole, so they should be small beside it. Files of two numbers a line without a header, as BERT4Rec's and SASRec's,
are users and items in order (see `untimed`).

`.dat` and `.txt` are looked at only where no name is that of a table: such files often stand beside a log.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.dimensions import RELATED, keyed, read_whole, related
from ray_userrep.logs.files import column_names, is_beside, is_plain_text, is_table, stem
from ray_userrep.logs.names import respelled
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.text_layout import CsvFormat, csv_format
from ray_userrep.logs.untimed import untimed
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_PAIR = ("0", "1")  # the columns of a file that has two and no header


def recognise(names: list[str]) -> bool:
    """Any file of one of these formats."""
    return any(is_table(name) or is_plain_text(name) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of all Parquet, CSV and JSON files; without any, of all that may be delimited text, or of all.

    Raises:
        UserError: there is none, or they do not hold a log.
    """
    tables = [file for file in files if is_table(file.uri)] or [file for file in files if is_plain_text(file.uri)]
    tables = tables or files  # this reader was asked for
    log = [file for file in tables if not is_beside(file.uri)]
    if not log and len(tables) == 1:  # it is the log, whatever it is called
        log, tables = tables, []
    if not log:
        raise UserError(f"no Parquet, CSV or JSON file with interactions among {len(files)} files: name a log")
    found = scan(config, log, layout(config, log[0]))
    csv = CsvFormat(encoding=config.layout.encoding)
    items, users, relations = (
        _beside([file for file in tables if _name(file) == name], csv, keys)
        for name, keys in (("items", ("item_id",)), ("users", ("user_id",)), ("relations", RELATED))
    )
    user_type = found.mapping.user_type
    return Tables(
        found.dataset(),
        None if items is None else keyed(items[0], "item_id", found.mapping.item_type, items[1]),
        None if users is None else keyed(users[0], "user_id", user_type, users[1]),
        found.order,
        None if relations is None else related(relations[0], user_type, relations[1]),
    )


def layout(config: LogsConfig, first: FileEntry) -> LogLayout:
    """The layout of a log, of which the first file shows whether it is one of pairs."""
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)}
    csv = csv_format(config.layout, (*(columns | config.columns).values(), *columns))
    if not config.columns and _is_pairs(first, csv):
        print(f"note      {first.uri}: lines of a user and an item, in order", flush=True)
        return replace(untimed(*_PAIR, {}), csv=csv)
    return LogLayout(columns, csv)


def _is_pairs(file: FileEntry, csv: CsvFormat) -> bool:
    try:
        return column_names(file, csv) == list(_PAIR)
    except DamagedFile:
        return False  # the scan tells of it


def _name(file: FileEntry) -> str:
    return PurePosixPath(stem(file.uri)).stem


def _beside(files: list[FileEntry], csv: CsvFormat, keys: Sequence[str]) -> tuple[pa.Table, str] | None:
    """A table beside the log with these columns in it, and where it is from."""
    if not files:
        return None
    table, uri = read_whole(files, csv), files[0].uri
    table = table.rename_columns(respelled(table.column_names, keys, uri))
    missing = next((key for key in keys if key not in table.column_names), None)
    if missing is not None:
        raise UserError(f"{uri} has no column {missing!r}; its columns are {', '.join(table.column_names)}")
    return table, uri
