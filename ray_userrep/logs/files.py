"""Raw log files as Arrow tables, block by block: Parquet, and text by way of `text_files`.

A large Parquet file becomes several pieces of work, cut between row groups; a text file is one piece, streamed in
blocks: where a quoted line ends cannot be told from its middle. Where a line is no interaction but, say, a user's whole
history, a `LineParser` turns each block of lines into rows while the file streams, so that such layouts share the scan,
its checks and its quarantine with all others; it sees one block at a time and must not need another.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, islice
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ray_userrep import storage
from ray_userrep.logs.damage import DamagedFile, OtherSchema, readable
from ray_userrep.logs.names import respelled
from ray_userrep.logs.text_files import (
    HEAD_BYTES,
    Columns,
    head_bytes,
    is_plain_text,
    is_text_table,
    refuse_binary,
    stem,
    stream,
    text_blocks,
    text_names,
    text_notes,
)
from ray_userrep.logs.text_layout import CsvFormat
from ray_userrep.storage import FileEntry

_BATCH_ROWS = 2**17
_PART_ROWS = 2**22
_SHOWN = 80  # characters of a line that cannot be read
_AT_ONCE = 2**20  # a Parquet file of fewer bytes is fetched whole: requests cost more than columns that nobody wants
_PARQUET = re.compile(r".*\.(parquet|pq)(\.(gzip|gz|snappy|zstd|zst|brotli|lz4|bz2))?")  # pandas' df.parquet.gzip


class FilePart(NamedTuple):
    """A piece of work: a file, or some row groups of a Parquet file; `first_row` counts within the file."""

    file: FileEntry
    first_row: int
    row_groups: tuple[int, ...] | None
    num_bytes: int  # about, as read


class FilePreview(NamedTuple):
    """What opening a file once shows: its columns (none in an empty one), its pieces of work, and its first rows.

    `notes` say what of its layout was taken from the first rows.
    """

    columns: list[str]
    parts: list[FilePart]
    head: pa.Table
    notes: tuple[str, ...] = ()


def is_table(uri: str) -> bool:
    """Whether the name is that of a Parquet, CSV or JSON lines file."""
    return is_parquet(uri) or is_text_table(uri)


def is_parquet(uri: str) -> bool:
    """Whether the name is that of a Parquet file; that of a codec behind it says how the pages are compressed."""
    return _PARQUET.fullmatch(PurePosixPath(uri).name.lower()) is not None


def preview(file: FileEntry, csv: CsvFormat, choose: Callable[[list[str]], Columns]) -> FilePreview:
    """Open a file once; `choose` picks the columns of the first rows, which are typed as `read_blocks` types them.

    Raises:
        DamagedFile: the file cannot be read as what its name says.
    """
    with readable(file):
        if is_parquet(file.uri):
            return _look_parquet(file, choose)
        data = head_bytes(file, csv.encoding)
        refuse_binary(file, data)
        names = text_names(file, data, csv)
        columns = choose(names) if names else {}
        whole = len(data) < HEAD_BYTES
        broken = list[str]()
        first = next(text_blocks(file, io.BytesIO(data), csv, columns, broken, whole), None) if columns else None
        notes = text_notes(file, data, csv)
    head = first if first is not None else _no_rows(columns)
    if broken and not head.num_rows:
        raise DamagedFile(
            f"{file.uri} cannot be read: none of its first lines has as many fields as there are columns, such as "
            f"{broken[0][:_SHOWN]!r}; where its layout is another, see logs.reader and logs.layout"
        )
    return FilePreview(names, [FilePart(file, 0, None, file.size)], head, notes)


def is_beside(uri: str) -> bool:
    """Whether the name is that of a table beside a log: items, users or relations of users."""
    return (is_table(uri) or is_plain_text(uri)) and PurePosixPath(stem(uri)).stem in ("items", "users", "relations")


def parts(file: FileEntry) -> list[FilePart]:
    """Split a file into pieces of work; text cannot be split."""
    if not is_parquet(file.uri):
        return [FilePart(file, 0, None, file.size)]
    with readable(file), _parquet(file) as parquet:
        return _split(file, parquet.metadata)


def column_names(file: FileEntry, csv: CsvFormat) -> list[str]:
    """A file's columns, from its schema, its header or its first lines."""
    return preview(file, csv, lambda _: {}).columns


def head(file: FileEntry, csv: CsvFormat, columns: Columns) -> pa.Table:
    """The first rows of a file, typed as `read_blocks` types them."""
    return preview(file, csv, lambda _: columns).head


def read_blocks(part: FilePart, csv: CsvFormat, columns: Columns, malformed: list[str]) -> Iterator[pa.Table]:
    """The named columns of a part, in the order of its rows; lines that cannot be split are added to `malformed`.

    Raises:
        DamagedFile: the file cannot be read as what its name says, here or from here on.
    """
    with readable(part.file):
        if is_parquet(part.file.uri):
            yield from _batches(part, columns)
            return
        with stream(part.file, csv.encoding) as source:
            yield from text_blocks(part.file, source, csv, columns, malformed)


def _batches(part: FilePart, columns: Columns) -> Iterator[pa.Table]:
    """A part of a Parquet file; where an answer of the store breaks off, it is opened anew and goes on from there."""
    done = 0
    for attempt in count():
        try:
            with _parquet(part.file) as parquet:
                own = _own(parquet, columns, part.file)
                for batch in islice(parquet.iter_batches(_BATCH_ROWS, part.row_groups, list(own.values())), done, None):
                    yield pa.Table.from_batches([batch]).select(list(own.values())).rename_columns(list(own))
                    done += 1
            return
        except OSError as error:
            if not storage.worth_another(error, attempt):
                raise


@contextmanager
def _parquet(file: FileEntry) -> Iterator[pq.ParquetFile]:
    if file.size <= _AT_ONCE:
        with storage.open_stream(file.uri) as source:
            whole = pa.BufferReader(source.read(file.size))
        with pq.ParquetFile(whole) as parquet:
            yield parquet
        return
    filesystem, path = storage.open_fs(file.uri)
    with filesystem.open_input_file(path) as source, pq.ParquetFile(source) as parquet:
        yield parquet


def _look_parquet(file: FileEntry, choose: Callable[[list[str]], Columns]) -> FilePreview:
    return storage.again(lambda: _first_batch(file, choose))


def _first_batch(file: FileEntry, choose: Callable[[list[str]], Columns]) -> FilePreview:
    with _parquet(file) as parquet:
        names = parquet.schema_arrow.names
        columns = choose(names)
        own = _own(parquet, columns, file)
        batch = next(parquet.iter_batches(_BATCH_ROWS, columns=list(own.values())), None)
        found = None if batch is None else pa.Table.from_batches([batch]).select(list(own.values()))
        first = _no_rows(columns) if found is None else found.rename_columns(list(own))
        return FilePreview(names, _split(file, parquet.metadata), first)


def _own(parquet: pq.ParquetFile, columns: Columns, file: FileEntry) -> dict[str, str]:
    """Wanted columns by the names that the file has for them."""
    names = parquet.schema_arrow.names
    own = dict(zip(respelled(names, columns, file.uri), names, strict=True))
    return {name: own.get(name, name) for name in columns}


def _split(file: FileEntry, metadata: pq.FileMetaData) -> list[FilePart]:
    """Runs of row groups, each about a part's rows."""
    found, first_row, open_row, groups, num_bytes = list[FilePart](), 0, 0, list[int](), 0
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group)
        groups.append(group)
        open_row += told.num_rows
        num_bytes += told.total_byte_size
        if open_row - first_row >= _PART_ROWS or group == metadata.num_row_groups - 1:
            found.append(FilePart(file, first_row, tuple(groups), num_bytes))
            first_row, groups, num_bytes = open_row, [], 0
    return found


def _no_rows(columns: Columns) -> pa.Table:
    return pa.table({name: pa.nulls(0) for name in columns})


ROWS_PER_FILE = 2**40  # row = file number * this + row in the file

Rows = Callable[[pa.Table, FileEntry, int], pa.Table]


class LineParser(NamedTuple):
    """`columns` are read of a file; `rows` makes interactions of a block, its file and the number of its first line.

    Of the columns `either` those are read as well that a file has. Lines are counted as rows are: file number *
    ROWS_PER_FILE + non-empty line in the file.
    """

    columns: Columns
    rows: Rows
    either: Mapping[str, pa.DataType | None] = {}


def preview_rows(
    file: FileEntry, csv: CsvFormat, parser: LineParser | None, choose: Callable[[list[str]], Columns]
) -> FilePreview:
    """Open a file once; `choose` picks the columns of its first rows.

    Raises:
        OtherSchema: the file lacks a column that its rows are made of.
    """
    if parser is None:
        return preview(file, csv, choose)
    found = preview(file, csv, lambda names: _needed(parser, names, file))
    if not found.columns:
        return found
    rows = parser.rows(found.head, file, 0)
    return found._replace(columns=rows.column_names, head=rows.select(list(choose(rows.column_names))))


def _needed(parser: LineParser, names: list[str], file: FileEntry) -> Columns:
    told = respelled(names, [*parser.columns, *parser.either], file.uri)
    missing = [name for name in parser.columns if name not in told]
    if missing:
        raise OtherSchema(f"{file.uri} has no column {missing[0]!r}; its columns are {', '.join(names)}")
    return dict(parser.columns) | {name: kind for name, kind in parser.either.items() if name in told}


def row_blocks(
    part: FilePart, csv: CsvFormat, parser: LineParser | None, columns: Columns, malformed: list[str], first_line: int
) -> Iterator[pa.Table]:
    """The named columns of the rows of a part; lines that cannot be split are added to `malformed`."""
    if parser is None:
        yield from read_blocks(part, csv, columns, malformed)
        return
    needed = _needed(parser, column_names(part.file, csv), part.file) if parser.either else parser.columns
    for lines in read_blocks(part, csv, needed, malformed):
        yield parser.rows(lines, part.file, first_line).select(list(columns))
        first_line += lines.num_rows
