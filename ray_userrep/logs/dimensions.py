"""The small tables beside a log, read whole: as columns, as JSON, and as RecBole's atomic files.

Those of items and users have one row an id, chosen the same way every time; one of relations has two users a row. JSON
whose fields change type from line to line, such as metadata where a price is now a number and now text, goes through
Python objects, which no column reader takes: some 50,000 lines a second, Python literals a tenth of that. Interactions
never go this way.

RecBole's atomic files are tab-separated with `name:type` in the header. A `token_seq` holds several values in one
field: quoted ones separated by commas, or bare ones by spaces. Quotes are CSV's, as pandas writes them.
"""

import ast
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.files import CsvFormat, column_names, parts, read_blocks
from ray_userrep.logs.ids import convert_ids, is_text, is_whole, named
from ray_userrep.logs.numbers import read_numbers, unread
from ray_userrep.storage import FileEntry

_SHOWN = 200  # characters of a line that cannot be read
_SHOWN_KEYS = 3


def read_whole(files: list[FileEntry], csv: CsvFormat) -> pa.Table:
    """All columns and rows of small files, in order; text columns of CSV stay text."""
    names = [column_names(file, csv) for file in files]
    found = [table for file, own in zip(files, names, strict=True) for table in tables([file], csv, own)]
    if not found:
        return pa.table({name: pa.array([], pa.string()) for name in names[0]})
    return pa.concat_tables(found, promote_options="permissive")


def tables(files: list[FileEntry], csv: CsvFormat, columns: list[str]) -> Iterator[pa.Table]:
    """The named columns of files, block by block; lines that cannot be read are told of and left out.

    Raises:
        UserError: a file lacks one of them.
    """
    for file in files:
        names, broken = column_names(file, csv), list[str]()
        missing = [name for name in columns if name not in names]
        if missing and names:
            raise UserError(f"{file.uri} has no column {missing[0]!r}; its columns are {', '.join(names)}")
        for part in parts(file) if names else []:
            yield from read_blocks(part, csv, dict.fromkeys(columns), broken)
        if broken:
            lines = "1 line" if len(broken) == 1 else f"{len(broken):,} lines"
            print(f"warning   {file.uri}: {lines} cannot be read, the first: {broken[0][:_SHOWN]}", flush=True)


def renamed(table: pa.Table, columns: Mapping[Any, str], field: str, place: str) -> pa.Table:
    """A table of one's own under canonical names; `columns` are what it calls some, and `field` says so.

    Raises:
        UserError: it has no such column, or the canonical name stands beside it.
    """
    for column, called in columns.items():
        if called not in table.column_names:
            there = ", ".join(table.column_names)
            raise UserError(f"{field} {column}: {place} has no column {called}; it has {there}")
        if column != called and column in table.column_names:
            raise UserError(f"{field} {column}: {place} has both {called} and {column}: leave one out")
    meant = {called: column for column, called in columns.items()}
    return table.rename_columns([meant.get(name, name) for name in table.column_names])


def keyed(table: pa.Table, key: str, kind: pa.DataType, file: str) -> pa.Table:
    """The rows that have a key, the first of each, with the key as int64 or text; keys of no such type are told of.

    Raises:
        UserError: no key is of the type that the log's ids have.
    """
    table = _with_keys(table, key, kind, file)
    return table.take(_first_rows(table, [key]))


RELATED = ("user_id", "other_id")


def related(table: pa.Table, kind: pa.DataType, file: str) -> pa.Table:
    """The rows that have two users, with their ids as int64 or text, and the `kind` of relation where it is told.

    Raises:
        UserError: no id is of the type that the log's ids have.
    """
    for key in RELATED:
        table = _with_keys(table, key, kind, file)
    kinds = {"kind": table["kind"].cast(pa.string())} if "kind" in table.column_names else {}
    return pa.table({key: table[key] for key in RELATED} | kinds)


def _with_keys(table: pa.Table, key: str, kind: pa.DataType, file: str) -> pa.Table:
    place = table.column_names.index(key)
    if kind == pa.int64() and is_text(table[key].type):
        table = _whole_keys(table, key, file)
    table = table.set_column(place, key, convert_ids(table.column(key), kind, key, file))
    return table.filter(pc.is_valid(table.column(key)))


def _whole_keys(table: pa.Table, key: str, file: str) -> pa.Table:
    """The rows whose key may be a whole number, as all ids of the log are."""
    keys = named(table[key].cast(pa.string()))
    fits = pc.fill_null(is_whole(keys), True)
    odd = keys.filter(pc.invert(fits))
    if len(odd) == 0:
        return table
    told = f"{file}: {len(odd):,} of {len(keys):,} values of {key} are not whole numbers, as all ids of the log are: "
    told += ", ".join(repr(value) for value in odd[:_SHOWN_KEYS].to_pylist())
    if len(odd) == len(keys) - keys.null_count:
        raise UserError(f"{told}; write both alike")
    print(f"warning   {told}; their rows are left out", flush=True)
    return table.filter(fits)


def most_frequent(table: pa.Table, key: str, value: str) -> pa.Table:
    """The commonest value of each key, the smallest of equally common ones; null values do not count."""
    table = table.select([key, value]).filter(pc.and_(pc.is_valid(table[key]), pc.is_valid(table[value])))
    counted = table.group_by([key, value]).aggregate([([], "count_all")])
    order = [(key, "ascending"), ("count_all", "descending"), (value, "ascending")]
    ranked = counted.sort_by(order).select([key, value])
    return ranked.take(_first_rows(ranked, [key]))


def _first_rows(table: pa.Table, keys: list[str]) -> pa.Array:
    numbered = table.select(keys).append_column("row", pa.array(np.arange(table.num_rows)))
    return numbered.group_by(keys).aggregate([("row", "min")]).column("row_min").sort().combine_chunks()


_BUFFER = 2**20


def read_document(file: FileEntry) -> Any:
    """The content of a JSON file, compressed or not.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(storage.read_text(file.uri))
    except ValueError as error:
        raise UserError(f"{file.uri} is not JSON: {error}") from error


def records(file: FileEntry) -> Iterator[dict[str, Any]]:
    """The objects of a file, one a line, as JSON or as Python literals, compressed or not.

    Raises:
        UserError: a line is neither.
    """
    with storage.user_errors(file.uri), storage.open_stream(file.uri, buffer_size=_BUFFER) as source:
        for number, line in enumerate(io.TextIOWrapper(source, encoding="utf-8", errors="replace"), 1):
            if line.strip():
                yield _record(line, f"{file.uri}, line {number}")


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        try:
            found = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise UserError(f"{place}: neither JSON nor a Python literal: {line.strip()[:80]!r}") from error
    if not isinstance(found, dict):
        raise UserError(f"{place}: an object is needed, not {line.strip()[:80]!r}")
    return found


_ATOMIC = CsvFormat("\t", quoted=True)
_TEXT = ("title", "movie_title", "name", "text")
_CATEGORY = ("categories", "category", "class", "genres", "genre")


def read_atomic(file: FileEntry) -> pa.Table:
    """A whole small file; floats where the header says so and they can be read, all else text."""
    table = read_whole([file], _ATOMIC)
    typed = [_typed(table[name].cast(pa.string()), name.partition(":")[2]) for name in table.column_names]
    return pa.table(dict(zip((name.partition(":")[0] for name in table.column_names), typed, strict=True)))


def described(table: pa.Table) -> pa.Table:
    """An item file's columns under canonical names: `text` and `category`; the others keep theirs."""
    for target, names in (("text", _TEXT), ("category", _CATEGORY)):
        source = next((name for name in names if name in table.column_names), None)
        if source is not None:
            table = table.rename_columns([target if name == source else name for name in table.column_names])
    for target, clean in (("text", pc.utf8_trim_whitespace), ("category", _joined)):
        if target in table.column_names:
            table = table.set_column(table.column_names.index(target), target, clean(table[target]))
    return table


def _typed(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if kind != "float":
        return values
    found = read_numbers(values)
    return found if unread(values, found).null_count == len(values) else values  # text is told of where it is used


def _joined(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Several categories joined by `|`: 'Beauty', "Women's", … or Action Comedy …"""
    quoted = pc.match_substring_regex(values, """^['"]""")
    bare = pc.replace_substring_regex(values, """^['"]|['"]$""", "")
    return pc.if_else(
        quoted, pc.replace_substring_regex(bare, """['"], ['"]""", "|"), pc.replace_substring(values, " ", "|")
    )
