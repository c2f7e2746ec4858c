"""RecBole's atomic files (`.inter`, `.item`, `.user`), its benchmark splits, and UniSRec's files of the same kind.

The header is `name:type`, tab-separated. Where `.inter` has one interaction a row, all parts of a split are read;
without a timestamp, the n-th row is put n seconds after the epoch (see `untimed`), which a split into several files
does not allow. Where a row is `user, history, target`, the row of `NAME.test.inter` is the user's whole history and is
all that is read: training rows repeat it. Such histories are cut at the 50 or so newest items by those who made the
files.

UniSRec numbers items and users by `NAME.item2index` and `NAME.user2index`; the numbers are the ids, the shop's own ids
are in the column `source_id`, and `NAME.text` has the texts.
"""

import re
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import described, keyed, read_atomic, read_whole
from ray_userrep.logs.files import CsvFormat, LineParser, column_names, stem
from ray_userrep.logs.scan import LogLayout, scan
from ray_userrep.logs.source import Tables
from ray_userrep.logs.untimed import COLUMNS, seconds, unroll
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_PLAIN = CsvFormat("\t", quoted=False)
_INDEX = CsvFormat("\t", ("source_id", "id"), quoted=False)
_NAME = re.compile(r"(?P<name>.+?)(?:\.(?P<part>train|valid|test))?\.inter")
_USERS, _RATINGS = ("user_id", "session_id"), ("rating", "stars")
_HISTORY = "item_id_list"


def recognise(names: list[str]) -> bool:
    """Any `.inter` file."""
    return any(_NAME.fullmatch(stem(name)) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical tables of one data set.

    Raises:
        UserError: there is not exactly one data set, or its rows are of another kind.
    """
    parts = {file: found for file in files if (found := _NAME.fullmatch(stem(file.uri)))}
    names = {found["name"] for found in parts.values()}
    if len(names) != 1:
        raise UserError(
            f"one data set of atomic files (NAME.inter) is needed, {len(files)} files hold "
            f"{', '.join(sorted(names)) or 'none'}: put each into a folder of its own"
        )
    name, logs = names.pop(), list(parts)
    typed = {column.partition(":")[0]: column for column in column_names(logs[0], _PLAIN)}
    if _HISTORY in typed:
        logs = [file for file, found in parts.items() if found["part"] == "test"]
        if not logs:
            raise UserError(f"rows of histories: {name}.test.inter is needed, which has the whole ones")
    log = scan(config, logs, _layout(config, typed, len(logs) == 1))
    beside = {stem(file.uri).removeprefix(name): file for file in files if stem(file.uri).startswith(f"{name}.")}
    items, users = _items(beside, log.mapping.item_type), _users(beside, log.mapping.user_type)
    return Tables(log.parts(), items, users, log.order)


def _layout(config: LogsConfig, typed: dict[str, str], alone: bool) -> LogLayout:
    """How the rows are read, given the header: plain name -> column."""
    user = _first(typed, _USERS) or _USERS[0]
    item = typed.get("item_id", "item_id")
    if _HISTORY in typed:
        columns = {user: None, typed[_HISTORY]: None, item: None}
        return LogLayout(
            COLUMNS, _PLAIN, parser=LineParser(columns, partial(_histories, columns=list(columns))), timed=False
        )
    wanted = {"user_id": user, "item_id": item, "timestamp": typed.get("timestamp", "timestamp")}
    rating = _first(typed, _RATINGS)
    if rating is not None:
        wanted["rating"] = rating
    if "timestamp" in typed or "timestamp" in config.columns or not alone:
        return LogLayout(wanted, _PLAIN)
    return LogLayout(wanted, _PLAIN, parser=LineParser(dict.fromkeys(typed.values()), _ordered), timed=False)


def _first(typed: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((typed[name] for name in names if name in typed), None)


def _ordered(rows: pa.Table, _: FileEntry, first_line: int) -> pa.Table:
    return rows.append_column("timestamp", seconds(rows, first_line))


def _histories(rows: pa.Table, _: FileEntry, __: int, columns: list[str]) -> pa.Table:
    user, history, target = (pc.fill_null(rows[name].cast(pa.string()), "") for name in columns)
    whole = pc.utf8_trim_whitespace(pc.binary_join_element_wise(history, target, " "))
    return unroll(user, pc.utf8_split_whitespace(whole).combine_chunks())


def _items(beside: dict[str, FileEntry], kind: pa.DataType) -> pa.Table | None:
    if ".item" in beside:
        return keyed(described(read_atomic(beside[".item"])), "item_id", kind, beside[".item"].uri)
    if ".item2index" not in beside:
        return None
    table = _index(beside[".item2index"], "item_id", kind)
    if ".text" not in beside:
        return table
    texts = read_whole([beside[".text"]], _PLAIN)
    rows = pc.index_in(table["source_id"], value_set=texts["item_id:token"].combine_chunks())
    return table.append_column("text", pc.utf8_trim_whitespace(texts["text:token_seq"].take(rows)))


def _users(beside: dict[str, FileEntry], kind: pa.DataType) -> pa.Table | None:
    if ".user" in beside:
        table = read_atomic(beside[".user"])
        return keyed(table, table.column_names[0], kind, beside[".user"].uri).rename_columns(
            ["user_id", *table.column_names[1:]]
        )
    return _index(beside[".user2index"], "user_id", kind) if ".user2index" in beside else None


def _index(file: FileEntry, key: str, kind: pa.DataType) -> pa.Table:
    table = read_whole([file], _INDEX).select(["id", "source_id"]).rename_columns([key, "source_id"])
    return keyed(table, key, kind, file.uri)
