"""Raw log files as Arrow tables, block by block: Parquet, CSV and JSON lines, the text ones also compressed.

CSV columns are read as bytes and typed later: Arrow's own guess from the first block turns 007 into 7 and fails where a
later block disagrees. Text that is not UTF-8 is taken for Latin-1.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.storage import FileEntry

HEAD_BYTES = 2**20
_BLOCK_BYTES = 16 * 2**20
_BATCH_ROWS = 2**17
_PART_ROWS = 2**22
_NULLS = ["", "NULL", "null", "NaN", "nan", "None", "\\N"]  # not NA: Namibia, and a product code
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")

TextSource: TypeAlias = pa.NativeFile | io.BytesIO
Columns = Mapping[str, pa.DataType | None]  # source column -> the type it will become, where that is known


@dataclass(frozen=True)
class CsvFormat:
    """How delimited text is laid out; empty fields say: by the file's name, and by its header line."""

    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    quoted: bool = True


class Part(NamedTuple):
    """A piece of work: a file, or some row groups of a Parquet file; `first_row` counts within the file."""

    file: FileEntry
    first_row: int
    row_groups: tuple[int, ...] | None


def stem(uri: str) -> str:
    """A file's name without compression suffix, in lower case."""
    name = PurePosixPath(uri).name.lower()
    return name.rsplit(".", 1)[0] if PurePosixPath(name).suffix in _COMPRESSED else name


def is_table(uri: str) -> bool:
    """Whether the name is that of a Parquet, CSV or JSON lines file."""
    return PurePosixPath(stem(uri)).suffix in (*_PARQUET, *_JSON, *_DELIMITERS)


def is_beside(uri: str) -> bool:
    """Whether the name is that of a table beside a log: items or users."""
    return is_table(uri) and PurePosixPath(stem(uri)).stem in ("items", "users")


def parts(file: FileEntry) -> list[Part]:
    """Split a file into pieces of work; text cannot be split."""
    if not _is_parquet(file):
        return [Part(file, 0, None)]
    with _parquet(file) as parquet:
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    found, first_row, open_row, groups = [], 0, 0, []
    for group, size in enumerate(sizes):
        groups.append(group)
        open_row += size
        if open_row - first_row >= _PART_ROWS or group == len(sizes) - 1:
            found.append(Part(file, first_row, tuple(groups)))
            first_row, groups = open_row, []
    return found


def column_names(file: FileEntry, csv: CsvFormat) -> list[str]:
    """A file's columns, from its schema, its header or its first lines."""
    if csv.names is not None and not _is_parquet(file) and not _is_json(file):
        return list(csv.names)
    if _is_parquet(file):
        with _parquet(file) as parquet:
            return parquet.schema_arrow.names
    with _readable(file):
        head = _head_bytes(file)
        if not head.strip():
            return []
        table = pajson.read_json(io.BytesIO(head)) if _is_json(file) else _open_csv(io.BytesIO(head), file, csv, [], [])
        return table.schema.names


def head(file: FileEntry, csv: CsvFormat, columns: Columns) -> pa.Table:
    """The first rows of a file, typed as `blocks` types them."""
    with _readable(file):
        if _is_parquet(file):
            found = _parquet_blocks(Part(file, 0, None), columns)
        elif _is_json(file):
            found = _json_blocks(file, io.BytesIO(_head_bytes(file)), columns)
        else:
            found = _csv_blocks(file, io.BytesIO(_head_bytes(file)), csv, columns, [])
        first = next(found, None)
    return first if first is not None else pa.table({name: pa.nulls(0) for name in columns})


def blocks(part: Part, csv: CsvFormat, columns: Columns, malformed: list[str]) -> Iterator[pa.Table]:
    """The named columns of a part, in the order of its rows; lines that cannot be split are added to `malformed`.

    Raises:
        UserError: the file cannot be read as what its name says.
    """
    with _readable(part.file):
        if _is_parquet(part.file):
            yield from _parquet_blocks(part, columns)
            return
        with _stream(part.file) as source:
            if _is_json(part.file):
                yield from _json_blocks(part.file, source, columns)
            else:
                yield from _csv_blocks(part.file, source, csv, columns, malformed)


def _is_parquet(file: FileEntry) -> bool:
    return stem(file.uri).endswith(_PARQUET)


def _is_json(file: FileEntry) -> bool:
    return stem(file.uri).endswith(_JSON)


@contextmanager
def _readable(file: FileEntry) -> Iterator[None]:
    try:
        with storage.explained(file.uri):
            yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise UserError(f"{file.uri} cannot be read: {str(error).splitlines()[0]}") from error


@contextmanager
def _parquet(file: FileEntry) -> Iterator[pq.ParquetFile]:
    filesystem, path = storage.open_fs(file.uri)
    with _readable(file), filesystem.open_input_file(path) as source, pq.ParquetFile(source) as parquet:
        yield parquet


def _parquet_blocks(part: Part, columns: Columns) -> Iterator[pa.Table]:
    with _parquet(part.file) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, part.row_groups, list(columns)):
            yield pa.Table.from_batches([batch])


@contextmanager
def _stream(file: FileEntry) -> Iterator[pa.NativeFile]:
    filesystem, path = storage.open_fs(file.uri)
    compression = _COMPRESSED.get(PurePosixPath(file.uri.lower()).suffix)
    with filesystem.open_input_stream(path, compression=compression, buffer_size=HEAD_BYTES) as source:
        yield source


def _head_bytes(file: FileEntry) -> bytes:
    """Whole lines from the start of a text file."""
    with _stream(file) as source:
        data = b""
        while piece := source.read(HEAD_BYTES):
            data += piece
            if b"\n" in piece and len(data) >= HEAD_BYTES:
                return data[: data.rindex(b"\n") + 1]
        return data


def _csv_blocks(
    file: FileEntry, source: TextSource, csv: CsvFormat, columns: Columns, malformed: list[str]
) -> Iterator[pa.Table]:
    try:
        reader = _open_csv(source, file, csv, list(columns), malformed)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise
    for batch in reader:
        yield pa.table([_decode(column) for column in batch.columns], batch.schema.names)


def _open_csv(
    source: TextSource, file: FileEntry, csv: CsvFormat, columns: list[str], malformed: list[str]
) -> pacsv.CSVStreamingReader:
    def set_aside(row: pacsv.InvalidRow) -> str:
        malformed.append(row.text)
        return "skip"

    delimiter = csv.delimiter or _DELIMITERS.get(PurePosixPath(stem(file.uri)).suffix, ",")
    return pacsv.open_csv(
        source,
        pacsv.ReadOptions(column_names=csv.names, block_size=_BLOCK_BYTES),
        pacsv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if csv.quoted else False,
            newlines_in_values=csv.quoted,
            invalid_row_handler=set_aside,
        ),
        pacsv.ConvertOptions(
            include_columns=columns,
            column_types={name: pa.binary() for name in columns},
            null_values=_NULLS,
            strings_can_be_null=True,
        ),
    )


def _decode(column: pa.Array) -> pa.Array:
    if not pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
        return pa.array([_text(value) for value in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _json_blocks(file: FileEntry, source: TextSource, columns: Columns) -> Iterator[pa.Table]:
    head = _head_bytes(file)
    if not head.strip():
        return
    seen = pajson.read_json(io.BytesIO(head)).schema
    kinds = [(name, _json_type(seen.field(name).type, columns[name])) for name in columns if name in seen.names]
    parse = pajson.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    for batch in pajson.open_json(source, pajson.ReadOptions(block_size=_BLOCK_BYTES), parse):
        yield pa.Table.from_batches([batch])


def _json_type(seen: pa.DataType, target: pa.DataType | None) -> pa.DataType:
    """The type to hold a whole column to, given that of its first rows."""
    # Arrow takes text that looks like a date for one, and nothing but nulls for no type at all.
    if pa.types.is_temporal(seen) or pa.types.is_null(seen):
        return pa.string()
    return pa.float64() if pa.types.is_integer(seen) and target == pa.float64() else seen
