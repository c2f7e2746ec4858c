"""Any log of one interaction a row: Parquet, CSV or JSON lines, in one file or many.

Columns are found by their canonical names or by `logs.columns`. Files named `items.*` and `users.*` are the tables
beside the log (`item_id`, `text`, ...; `user_id`, ...); they are read whole, so they should be small beside it.
"""

from pathlib import PurePosixPath

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED
from ray_userrep.logs.dimensions import keyed, read_whole
from ray_userrep.logs.files import CsvFormat, is_beside, is_table, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry


def recognise(names: list[str]) -> bool:
    """Any file in one of the three formats."""
    return any(is_table(name) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of all Parquet, CSV and JSON lines files.

    Raises:
        UserError: there is none, or they do not hold a log.
    """
    tables = [file for file in files if is_table(file.uri)]
    log = [file for file in tables if not is_beside(file.uri)]
    if not log and len(tables) == 1:  # it is the log, whatever it is called
        log, tables = tables, []
    if not log:
        raise UserError(f"no Parquet, CSV or JSON lines file with interactions among {len(files)} files: name a log")
    found = scan(config, log, LogLayout({name: name for name in (*REQUIRED, *OPTIONAL)}))
    return Tables(
        found.dataset(),
        _dimension([file for file in tables if _name(file) == "items"], "item_id", found.mapping.item_type),
        _dimension([file for file in tables if _name(file) == "users"], "user_id", found.mapping.user_type),
        found.order,
    )


def _name(file: FileEntry) -> str:
    return PurePosixPath(stem(file.uri)).stem


def _dimension(files: list[FileEntry], key: str, kind: pa.DataType) -> pa.Table | None:
    if not files:
        return None
    table = read_whole(files, CsvFormat())
    if key not in table.column_names:
        raise UserError(f"{files[0].uri} has no column {key!r}; its columns are {', '.join(table.column_names)}")
    return keyed(table, key, kind, files[0].uri)
