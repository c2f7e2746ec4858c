"""The files of a log as canonical interactions, once it is settled how to read them.

A file that turns out to be damaged becomes a record of the quarantine where it breaks off. That is decided in the task
that reads it: what came before the damage is kept, what comes after is lost, and the number of lost rows is not known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from ray_userrep.logs.canonical import OPTIONAL, ColumnMapping, canonicalise
from ray_userrep.logs.damage import DamagedFile, OtherSchema
from ray_userrep.logs.decimals import with_points
from ray_userrep.logs.files import ROWS_PER_FILE, CsvFormat, FilePart, LineParser, row_blocks
from ray_userrep.logs.hive import folder_values, in_range, is_cut
from ray_userrep.logs.parts import Parts
from ray_userrep.logs.rejection import MALFORMED_LINE, rejected
from ray_userrep.logs.text_files import EXACT, Columns
from ray_userrep.logs.times import ISO
from ray_userrep.recipe.logs import LogsConfig, Order
from ray_userrep.storage import FileEntry

_MIN_TASK_BYTES, _MAX_TASK_BYTES = 16 * 2**20, 64 * 2**20
_TASKS = 1024  # from here on tasks read more instead of becoming more
_TASK_FILES = 64

Reject = Callable[[pa.Table], pa.ChunkedArray]


@dataclass(frozen=True)
class LogLayout:
    """What a reader knows of its files.

    `columns` maps canonical names to its source columns (optional ones are taken where the files have them); `extra`
    are source columns that `reject` looks at to name the rows it refuses (null: none). Where lines are not
    interactions, `parser` makes rows of them, and `columns` and `extra` are columns of those. Where the times only say
    the order, it is not `timed`. Numbers in text may have a `decimal_comma`. What a file's place says of its rows is
    `said`, as columns; ids of items may all be text, whatever they look like (`text_items`).
    """

    columns: dict[str, str]
    csv: CsvFormat = field(default_factory=CsvFormat)
    formats: tuple[str, ...] = (ISO,)
    extra: tuple[str, ...] = ()
    reject: Reject | None = None
    parser: LineParser | None = None
    timed: bool = True
    decimal_comma: bool = False
    said: Callable[[str], dict[str, str | None]] = folder_values
    text_items: bool = False


class Piece(NamedTuple):
    """A part of a file with what was seen of it; `refusal` is why it cannot be read: the reason and more words."""

    number: int  # of the file
    part: FilePart
    columns: tuple[str, ...]  # the file's own
    refusal: tuple[str, str] | None = None


class Scan(NamedTuple):
    """The interaction files of a log with everything settled that reading them needs."""

    config: LogsConfig
    layout: LogLayout
    mapping: ColumnMapping
    work: list[Piece]

    @property
    def order(self) -> Order:
        """What a user's interactions are ordered by: their times, or how the rows stand."""
        return "time" if self.layout.timed else "row"

    def parts(self) -> Parts:
        """Canonical interactions; small files share a part, a large one has several."""
        alone = self._replace(work=[])  # a part holds its own pieces only
        reads = tuple(partial(_read, alone, pieces) for pieces in together(self.work))
        return Parts(reads, self.mapping.schema())

    def tables(self, extra: list[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Canonical rows beside raw ones that also hold the `extra` source columns, in this process."""
        for piece in self.work:
            yield from self.read(piece, extra)

    def read(self, piece: Piece, extra: list[str] | None = None) -> Iterator[tuple[pa.Table, pa.Table]]:
        """One piece, as canonical rows beside raw ones; what cannot be read is one record at the end.

        Raises:
            UserError: the file lacks an `extra` column, or an id is not of the log's type.
        """
        file, row = piece.part.file, piece.number * ROWS_PER_FILE + piece.part.first_row
        if piece.refusal is None:
            require([*piece.columns, *self.layout.said(file.uri)], extra or [], file)
        wanted = source_columns(self.mapping.columns, self.layout, extra or [])
        broken: list[str] = []
        try:
            if piece.refusal is None:
                for raw in self._raw(piece, wanted, broken, row):
                    reasons = self.layout.reject(raw) if self.layout.reject else None
                    rows = canonicalise(raw, self.mapping, file.uri, row, reasons)
                    row += raw.num_rows
                    yield self._in_range(rows, raw, file)
            refusal = piece.refusal
        except DamagedFile as error:
            refusal = refusal_of(error, file)
        for reason, details in [(MALFORMED_LINE, broken), *([(refusal[0], [refusal[1]])] if refusal else [])]:
            if details:
                nothing = pa.table({name: pa.nulls(len(details)) for name in wanted})
                yield rejected(self.mapping.schema(), reason, file.uri, row, details), nothing
                row += len(details)

    def _raw(self, piece: Piece, wanted: Columns, broken: list[str], first_line: int) -> Iterator[pa.Table]:
        """The wanted columns of a piece; those that the file lacks come from its place."""
        folders = {name: value for name, value in self.layout.said(piece.part.file.uri).items() if name in wanted}
        own = {name: kind for name, kind in wanted.items() if name in piece.columns}
        for raw in row_blocks(piece.part, self.layout.csv, self.layout.parser, own, broken, first_line):
            yield numbers(with_folders(raw, folders), self.mapping, self.layout)

    def _in_range(self, rows: pa.Table, raw: pa.Table, file: FileEntry) -> tuple[pa.Table, pa.Table]:
        """The rows of the wanted days, and those without a time."""
        if not is_cut(self.config, file.uri):
            return rows, raw
        kept = in_range(self.config, rows)
        return rows.filter(kept), raw.filter(kept)


def _read(scan: Scan, pieces: list[Piece]) -> Iterator[pa.Table]:
    for piece in pieces:
        yield from (table for table, _ in scan.read(piece))


def together(work: list[Piece]) -> list[list[Piece]]:
    """Neighbouring pieces that one task reads one after the other: a block's worth of bytes, or of requests."""
    share = sum(piece.part.num_bytes for piece in work) // _TASKS
    task_bytes = min(max(share, _MIN_TASK_BYTES), _MAX_TASK_BYTES)
    tasks: list[list[Piece]] = []
    num_bytes = 0
    for piece in work:
        num_bytes += piece.part.num_bytes
        if not tasks or num_bytes > task_bytes or len(tasks[-1]) == _TASK_FILES:
            tasks.append([])
            num_bytes = piece.part.num_bytes
        tasks[-1].append(piece)
    return tasks


def source_columns(columns: dict[str, str], layout: LogLayout, extra: list[str]) -> dict[str, pa.DataType | None]:
    """The source columns to read, with the types they will become where that is known."""
    wanted: dict[str, pa.DataType | None] = {column: OPTIONAL.get(name) for name, column in columns.items()}
    wanted |= {columns[name]: EXACT for name in ("user_id", "item_id")}
    return wanted | {name: None for name in (*layout.extra, *extra) if name not in wanted}


def with_folders(raw: pa.Table, folders: dict[str, str | None]) -> pa.Table:
    """The columns that folders stand for beside those of the file, which win."""
    for name, value in folders.items():
        if name not in raw.column_names:
            raw = raw.append_column(name, pa.repeat(pa.scalar(value, pa.string()), raw.num_rows))
    return raw


def numbers(raw: pa.Table, mapping: ColumnMapping, layout: LogLayout) -> pa.Table:
    """Raw rows whose numbers have a decimal point, whatever they were written with."""
    if not layout.decimal_comma:
        return raw
    names = ("timestamp", *(name for name, kind in OPTIONAL.items() if kind == pa.float64()))
    return with_points(raw, [column for name, column in mapping.columns.items() if name in names])


def require(names: list[str], wanted: Iterable[str], file: FileEntry) -> None:
    """Check that a file has the columns that its layout says it has.

    Raises:
        OtherSchema: one is missing.
    """
    missing = [name for name in wanted if name not in names]
    if missing:
        raise OtherSchema(
            f"{file.uri} has no column {missing[0]!r}, which this layout has; its columns are {', '.join(names)}"
        )


def refusal_of(error: DamagedFile, file: FileEntry) -> tuple[str, str]:
    """The quarantine's reason for a file, and the error's words without the file's name."""
    return error.reason, str(error).removeprefix(file.uri).lstrip(": ")
