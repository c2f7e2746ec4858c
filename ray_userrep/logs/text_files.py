"""CSV and JSON lines as Arrow tables, block by block, also compressed.

CSV columns are read as bytes and typed later: Arrow's own guess from the first block turns 007 into 7 and fails where
a later block disagrees. JSON is parsed in blocks of whole lines, so that a broken line costs itself and not its file;
that takes a second parse of the block it is in. Text that is not UTF-8 is taken for Latin-1, ids excepted.
"""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.csv_lines import SoundLines
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.storage import FileEntry

HEAD_BYTES = 2**20
EXACT = pa.binary()  # the type to ask for an id: bytes that are no text stay bytes

_BLOCK_BYTES = 16 * 2**20
_LINE_BYTES = 64 * 2**20  # above, it is one document, not lines
_BROKEN_LINES = 1000  # of one JSON file, above which it is not JSON lines
_NULLS = ["", "NULL", "null", "NaN", "nan", "None", "\\N"]  # not NA: Namibia, and a product code
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
_CHANGED = re.compile(r"changed from (number|string) to (number|string)")

TextSource: TypeAlias = pa.NativeFile | io.BytesIO
Columns = Mapping[str, pa.DataType | None]  # source column -> the type it will become, where that is known


@dataclass(frozen=True)
class CsvFormat:
    """How delimited text is laid out; None stands for: by the file's name, its header, quotes unless tabs separate."""

    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    quoted: bool | None = None


def stem(uri: str) -> str:
    """A file's name without compression suffix, in lower case."""
    name = PurePosixPath(uri).name.lower()
    return name.rsplit(".", 1)[0] if PurePosixPath(name).suffix in _COMPRESSED else name


def is_text_table(uri: str) -> bool:
    """Whether the name is that of a CSV or JSON lines file."""
    return PurePosixPath(stem(uri)).suffix in (*_JSON, *_DELIMITERS)


@contextmanager
def stream(file: FileEntry) -> Iterator[pa.NativeFile]:
    """A text file's content, decompressed."""
    compression = _COMPRESSED.get(PurePosixPath(file.uri.lower()).suffix)
    with storage.open_stream(file.uri, compression, HEAD_BYTES) as source:
        yield source


def head_bytes(file: FileEntry) -> bytes:
    """Whole lines from the start of a text file."""
    with stream(file) as source:
        data = b""
        while piece := source.read(HEAD_BYTES):
            data += piece
            if b"\n" in piece and len(data) >= HEAD_BYTES:
                return data[: data.rindex(b"\n") + 1]
            _limit(data)
        return data


def text_names(file: FileEntry, data: bytes, csv: CsvFormat) -> list[str]:
    """A text file's columns, from its header or its first lines; none where there are no lines."""
    if csv.names is not None and not _is_json(file):
        return list(csv.names)
    if not data.strip():
        return []
    if _is_json(file):
        return _json_schema(file, data).names
    return _open_csv(io.BytesIO(data), file, csv, {}, []).schema.names


def text_blocks(
    file: FileEntry, source: TextSource, csv: CsvFormat, columns: Columns, malformed: list[str], whole: bool = True
) -> Iterator[pa.Table]:
    """The named columns of a text file; lines that cannot be split into columns are added to `malformed`.

    Where the source is not the `whole` file, it may end within a quoted field.
    """
    if _is_json(file):
        return _json_blocks(file, source, columns, malformed)
    return _csv_blocks(file, source, csv, columns, malformed, whole)


def _is_json(file: FileEntry) -> bool:
    return stem(file.uri).endswith(_JSON)


def _csv_blocks(
    file: FileEntry, source: TextSource, csv: CsvFormat, columns: Columns, malformed: list[str], whole: bool
) -> Iterator[pa.Table]:
    try:
        reader = _open_csv(source, file, csv, columns, malformed, whole)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise
    for batch in reader:
        decoded = [_decode(batch.column(name), columns.get(name) == EXACT) for name in batch.schema.names]
        yield pa.table(decoded, batch.schema.names)


def _open_csv(
    source: TextSource, file: FileEntry, csv: CsvFormat, columns: Columns, malformed: list[str], whole: bool = True
) -> pacsv.CSVStreamingReader:
    def set_aside(row: pacsv.InvalidRow) -> str:
        malformed.append(row.text if row.number is None else f"line {row.number}: {row.text}")
        return "skip"

    delimiter = csv.delimiter or _DELIMITERS.get(PurePosixPath(stem(file.uri)).suffix, ",")
    quoted = delimiter != "\t" if csv.quoted is None else csv.quoted
    num_fields = None if csv.names is None else len(csv.names)
    lines = SoundLines(_line_blocks(source), delimiter, quoted, malformed, num_fields, whole)
    return pacsv.open_csv(
        pa.PythonFile(lines, "r"),
        pacsv.ReadOptions(column_names=csv.names, block_size=_BLOCK_BYTES),
        pacsv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
            invalid_row_handler=set_aside,
        ),
        pacsv.ConvertOptions(
            include_columns=list(columns),
            column_types={name: pa.binary() for name in columns},
            null_values=_NULLS,
            strings_can_be_null=True,
        ),
    )


def _decode(column: pa.Array, exact: bool) -> pa.Array:
    if not pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        if exact:
            return column
        encoded = column.dictionary_encode()
        return pa.array([_text(value) for value in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _json_blocks(file: FileEntry, source: TextSource, columns: Columns, malformed: list[str]) -> Iterator[pa.Table]:
    """The types are settled by the first lines."""
    schema = None
    for lines in _line_blocks(source):
        if not lines.strip():
            continue
        if schema is None:
            seen = _json_schema(file, lines[: lines.find(b"\n", HEAD_BYTES) + 1] or lines)
            kinds = [(name, _json_type(seen.field(name).type, columns[name])) for name in columns if name in seen.names]
            schema = pa.schema(kinds)
        yield from _parse(file, lines, schema, malformed)


def _line_blocks(source: TextSource) -> Iterator[bytes]:
    """Whole lines, about a block of them at a time."""
    rest = b""
    while piece := source.read(_BLOCK_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
        rest = piece[end:] if end else rest + piece
        _limit(rest)
    yield rest


def _limit(line: bytes) -> None:
    if len(line) > _LINE_BYTES:
        raise pa.ArrowInvalid(f"a line is longer than {_LINE_BYTES:,} bytes")


def _json_schema(file: FileEntry, lines: bytes) -> pa.Schema:
    """What the first lines hold, broken ones set aside."""
    broken: list[str] = []
    schemas = [table.schema for table in _parse(file, lines, None, broken)]
    if not schemas:
        raise DamagedFile(f"{file.uri} cannot be read: no line of it is a JSON object, such as {broken[0][:80]!r}")
    return pa.unify_schemas(schemas, promote_options="permissive")


def _parse(file: FileEntry, lines: bytes, schema: pa.Schema | None, malformed: list[str]) -> Iterator[pa.Table]:
    """The lines as tables: one, or where some are broken, those of the halves around them.

    Raises:
        UserError: a column changes between numbers and text.
        DamagedFile: too many lines are broken.
    """
    options = pajson.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
    )
    try:
        yield pajson.read_json(io.BytesIO(lines), pajson.ReadOptions(block_size=len(lines) + 1), options)
        return
    except pa.ArrowInvalid as error:
        if _CHANGED.search(str(error)):
            raise UserError(f"{file.uri} cannot be read: {str(error).splitlines()[0]}") from error
    middle = lines.find(b"\n", len(lines) // 2) + 1
    if middle in (0, len(lines)):
        middle = lines.rfind(b"\n", 0, len(lines) // 2) + 1
    if middle:
        yield from _parse(file, lines[:middle], schema, malformed)
        yield from _parse(file, lines[middle:], schema, malformed)
    elif lines.strip():
        malformed.append(lines.decode(errors="replace").strip())
        if len(malformed) > _BROKEN_LINES:
            raise DamagedFile(
                f"{file.uri} cannot be read: more than {_BROKEN_LINES:,} of its lines are no JSON objects"
            )


def _json_type(seen: pa.DataType, target: pa.DataType | None) -> pa.DataType:
    """The type to hold a whole column to, given that of its first rows."""
    # Arrow takes text that looks like a date for one, and nothing but nulls for no type at all.
    if pa.types.is_temporal(seen) or pa.types.is_null(seen):
        return pa.string()
    return pa.float64() if pa.types.is_integer(seen) and target == pa.float64() else seen
