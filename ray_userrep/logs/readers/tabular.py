"""Any log of one interaction a row: Parquet, delimited text or JSON, in one file or many.

Columns are found by their canonical names or by `logs.columns`. `logs.items` and `logs.users`, or files named `items.*`
and `users.*` beside the log, are the tables of items and users (see `beside`); one named `relations.*` has two users a
row. Files of two numbers a line without a header, as BERT4Rec's and SASRec's, are users and items in order (see
`untimed`).

`.dat` and `.txt` are looked at only where no name is that of a table: such files often stand beside a log.
"""

from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.beside import KEYS, TEXT, BesideTable, find_columns, read_beside
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.dimensions import RELATED, read_whole, related
from ray_userrep.logs.events import with_events
from ray_userrep.logs.files import column_names, is_beside, is_plain_text, is_table, stem
from ray_userrep.logs.listing import Beside, named_tables
from ray_userrep.logs.names import respelled
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.several import interactions_among
from ray_userrep.logs.source import Tables
from ray_userrep.logs.text_layout import CsvFormat, csv_format
from ray_userrep.logs.told import tell_beside, tell_log
from ray_userrep.logs.untimed import untimed
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_OWN = {name: name for name in (*REQUIRED, *OPTIONAL)}
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
    if not config.events:  # which say what each file is
        log = interactions_among(config, log, _csv(config))
    csv = CsvFormat(encoding=config.layout.encoding)
    beside = [find_columns(config, kind, own, csv) for kind, own in _beside(config, tables).items()]
    log_config, shared = _of_log(config, beside)
    made = with_events(config, layout(config, log[0]))
    found = scan(log_config, log, replace(made, columns=made.columns | shared))
    tell_log(found)
    first = next((rows for rows, _ in found.tables([])), None) if beside else None
    kinds: dict[Beside, pa.DataType] = {"items": found.mapping.item_type, "users": found.mapping.user_type}
    rows_of = {table.kind: read_beside(table, csv, kinds[table.kind]) for table in beside}
    for table in beside:
        tell_beside(table, rows_of[table.kind], first)
    relations = _relations(tables, csv, found.mapping.user_type)
    return Tables(found.parts(), rows_of.get("items"), rows_of.get("users"), found.order, relations)


def _relations(tables: list[FileEntry], csv: CsvFormat, user_type: pa.DataType) -> pa.Table | None:
    """Who knows whom, where a table beside the log says so.

    Raises:
        UserError: it lacks a column of users.
    """
    files = [file for file in tables if _name(file) == "relations"]
    if not files:
        return None
    table, uri = read_whole(files, csv), files[0].uri
    table = table.rename_columns(respelled(table.column_names, RELATED, uri))
    missing = next((key for key in RELATED if key not in table.column_names), None)
    if missing is not None:
        raise UserError(f"{uri} has no column {missing!r}; its columns are {', '.join(table.column_names)}")
    return related(table, user_type, uri)


def _name(file: FileEntry) -> str:
    return PurePosixPath(stem(file.uri)).stem


def _beside(config: LogsConfig, tables: list[FileEntry]) -> dict[Beside, list[FileEntry]]:
    """The files of the tables of items and users: those that are named, else those of such names beside the log."""
    called: dict[Beside, list[FileEntry]] = {kind: [file for file in tables if _name(file) == kind] for kind in KEYS}
    return {kind: files for kind, files in (called | named_tables(config)).items() if files}


def _of_log(config: LogsConfig, beside: list[BesideTable]) -> tuple[LogsConfig, dict[str, str]]:
    """What the log is asked for, and the mapped columns that it may lack as a table beside it has them.

    Raises:
        UserError: texts are mapped, and no table of items has them.
    """
    there = {name: source for table in beside for source, name in table.names.items() if name in config.columns}
    if TEXT in config.columns and TEXT not in there:
        raise UserError(
            f"logs.columns maps text to {config.columns[TEXT]!r}, which no table of items has: name one with logs.items"
        )
    shared = {name: config.columns[name] for name in there if name in OPTIONAL}
    columns = {name: column for name, column in config.columns.items() if name != TEXT and name not in shared}
    return config.model_copy(update={"columns": columns}), shared


def layout(config: LogsConfig, first: FileEntry) -> LogLayout:
    """The layout of a log, of which the first file shows whether it is one of pairs."""
    csv = _csv(config)
    if not config.columns and _is_pairs(first, csv):
        print(f"note      {first.uri}: lines of a user and an item, in order", flush=True)
        return replace(untimed(*_PAIR, {}), csv=csv)
    return LogLayout(dict(_OWN), csv)


def _csv(config: LogsConfig) -> CsvFormat:
    return csv_format(config.layout, (*(_OWN | config.columns).values(), *_OWN))


def _is_pairs(file: FileEntry, csv: CsvFormat) -> bool:
    try:
        return column_names(file, csv) == list(_PAIR)
    except DamagedFile:
        return False  # the scan tells of it
