"""CSV and JSON lines as Arrow tables, block by block, also compressed.

CSV columns are read as bytes and typed later: Arrow's own guess from the first block turns 007 into 7 and fails where
a later block disagrees. JSON is parsed in blocks of whole lines, so that a broken line costs itself and not its file;
that takes a second parse of the block it is in. Text that is not UTF-8 is taken for Latin-1, ids excepted.
"""

import io
import lzma
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.csv_lines import SoundLines
from ray_userrep.logs.damage import DamagedFile
from ray_userrep.logs.encodings import ByteSource, as_utf8
from ray_userrep.logs.json_lines import json_lines
from ray_userrep.logs.names import respelled
from ray_userrep.logs.text_layout import CsvFormat, TextLayout, settle, text_of
from ray_userrep.storage import FileEntry

HEAD_BYTES = 2**20
EXACT = pa.binary()  # the type to ask for an id: bytes that are no text stay bytes

_BLOCK_BYTES = 16 * 2**20
_LINE_BYTES = 64 * 2**20  # above, it is one document, not lines
_BROKEN_LINES = 1000  # of one JSON file, above which it is not JSON lines
_NULLS = ["", "NULL", "null", "NaN", "nan", "None", "\\N"]  # not NA: Namibia, and a product code
_COMPRESSED = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".lz4": "lz4",
    ".xz": "xz",
}
_DELIMITED = (".csv", ".tsv")
_PLAIN = (".dat", ".txt", ".data", ".text")
_ABOUT = ("readme", "license", "licence", "copying", "citation", "changelog", "source", "about", "description")
_JSON = (".json", ".jsonl", ".ndjson")
_KINDS = {
    b"\x1f\x8b": "compressed by gzip: name it .gz",
    b"BZh": "compressed by bzip2: name it .bz2",
    b"\xfd7zXZ": "compressed by xz: name it .xz",
    b"(\xb5/\xfd": "compressed by zstd: name it .zst",
    b"PK\x03\x04": "a zip archive or a workbook: unpack it, or save its sheet as CSV",
    b"PAR1": "Parquet: name it .parquet",
}
_LOOKED_AT = 4096  # bytes
_CHANGED = re.compile(r"changed from (number|string) to (number|string)")

Columns = Mapping[str, pa.DataType | None]  # source column -> the type it will become, where that is known


def stem(uri: str) -> str:
    """A file's name without compression suffix, in lower case."""
    name = PurePosixPath(uri).name.lower()
    return name.rsplit(".", 1)[0] if PurePosixPath(name).suffix in _COMPRESSED else name


def is_text_table(uri: str) -> bool:
    """Whether the name is that of a CSV or JSON lines file."""
    return PurePosixPath(stem(uri)).suffix in (*_JSON, *_DELIMITED)


def is_json(uri: str) -> bool:
    """Whether the name is that of a JSON file."""
    return stem(uri).endswith(_JSON)


def is_plain_text(uri: str) -> bool:
    """Whether a file may be delimited text though its name does not say so, and is not about the others."""
    name = PurePosixPath(stem(uri))
    return name.suffix in _PLAIN and not name.stem.startswith(_ABOUT)


@contextmanager
def stream(file: FileEntry, encoding: str | None = None) -> Iterator[ByteSource]:
    """A text file's content, decompressed, in UTF-8; JSON of any kind as JSON lines."""
    compression = _COMPRESSED.get(PurePosixPath(file.uri.lower()).suffix)
    with ExitStack() as stack:
        arrows = None if compression == "xz" else compression
        opened = stack.enter_context(storage.open_stream(file.uri, arrows, HEAD_BYTES))
        source: ByteSource = stack.enter_context(lzma.LZMAFile(opened)) if compression == "xz" else opened
        text = as_utf8(source, encoding)
        yield json_lines(text) if is_json(file.uri) else text


def head_bytes(file: FileEntry, encoding: str | None = None) -> bytes:
    """Whole lines from the start of a text file."""
    with stream(file, encoding) as source:
        data = b""
        while piece := source.read(HEAD_BYTES):
            data += piece
            if b"\n" in piece and len(data) >= HEAD_BYTES:
                return data[: data.rindex(b"\n") + 1]
            _limit(data)
        return data


def refuse_binary(file: FileEntry, data: bytes) -> None:
    """Refuse what only has the name of a text.

    Raises:
        DamagedFile: its first bytes are those of another kind of file, or none that a text has.
    """
    kind = next((kind for mark, kind in _KINDS.items() if data.startswith(mark)), None)
    if kind is not None or b"\0" in data[:_LOOKED_AT].partition(b"\n")[0]:
        raise DamagedFile(f"{file.uri} cannot be read: it is no text{'' if kind is None else f', but {kind}'}")


def text_names(file: FileEntry, data: bytes, csv: CsvFormat) -> list[str]:
    """A text file's columns, from its header or its first lines; none where there are no lines."""
    if csv.names is not None and not is_json(file.uri):
        return list(csv.names)
    if not data.strip():
        return []
    if is_json(file.uri):
        return _json_schema(file, data).names
    return list(settle(data, _suffix(file), csv).names)


def text_notes(file: FileEntry, data: bytes, csv: CsvFormat) -> tuple[str, ...]:
    """What was taken from the first lines of a text file without being said."""
    return () if is_json(file.uri) or not data.strip() else settle(data, _suffix(file), csv).notes


def text_blocks(
    file: FileEntry, source: ByteSource, csv: CsvFormat, columns: Columns, malformed: list[str], whole: bool = True
) -> Iterator[pa.Table]:
    """The named columns of a text file; lines that cannot be split into columns are added to `malformed`.

    Where the source is not the `whole` file, it may end within a quoted field.
    """
    if is_json(file.uri):
        return _json_blocks(file, source, columns, malformed)
    return _csv_blocks(file, source, csv, columns, malformed, whole)


def _suffix(file: FileEntry) -> str:
    return PurePosixPath(stem(file.uri)).suffix


def _csv_blocks(
    file: FileEntry, source: ByteSource, csv: CsvFormat, columns: Columns, malformed: list[str], whole: bool
) -> Iterator[pa.Table]:
    blocks = _line_blocks(source)
    first = next(blocks, b"")
    if not first.strip():
        return
    told = settle(first, _suffix(file), csv)
    told = told._replace(names=tuple(respelled(told.names, columns, file.uri)))
    sound = (told.unified(block) for block in chain([first[told.start :]], blocks))
    lines = SoundLines(sound, told.between, told.quote, malformed, len(told.names), told.lines + 1, whole)
    try:
        reader = _open_csv(lines, told, columns, malformed)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise
    for batch in reader:
        decoded = [_decode(batch.column(name), columns.get(name) == EXACT) for name in batch.schema.names]
        yield pa.table([_trimmed(one) for one in decoded] if told.padded else decoded, batch.schema.names)


def _open_csv(lines: SoundLines, told: TextLayout, columns: Columns, malformed: list[str]) -> pacsv.CSVStreamingReader:
    def set_aside(row: pacsv.InvalidRow) -> str:
        malformed.append(row.text if row.number is None else f"line {told.lines + row.number}: {row.text}")
        return "skip"

    return pacsv.open_csv(
        pa.PythonFile(lines, "r"),
        pacsv.ReadOptions(column_names=told.names, block_size=_BLOCK_BYTES),
        pacsv.ParseOptions(
            delimiter=told.between,
            quote_char=told.quote or False,
            newlines_in_values=told.quote is not None,
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
        return pa.array([text_of(value) for value in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


def _trimmed(column: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(column) if pa.types.is_string(column.type) else column


def _json_blocks(file: FileEntry, source: ByteSource, columns: Columns, malformed: list[str]) -> Iterator[pa.Table]:
    """The types are settled by the first lines."""
    schema, there = None, list[str]()
    for lines in _line_blocks(source):
        if not lines.strip():
            continue
        if schema is None:
            seen = _json_schema(file, lines[: lines.find(b"\n", HEAD_BYTES) + 1] or lines)
            own = dict(zip(respelled(seen.names, columns, file.uri), seen.names, strict=True))
            there = [name for name in columns if name in own]
            schema = pa.schema([(own[name], _json_type(seen.field(own[name]).type, columns[name])) for name in there])
        for table in _parse(file, lines, schema, malformed):
            yield table.rename_columns(there)


def _line_blocks(source: ByteSource) -> Iterator[bytes]:
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
