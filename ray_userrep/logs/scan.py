"""From raw files to a Ray Dataset of canonical interactions.

The first rows of every file are looked at before any task starts: wrong columns, types and times are one clear error
then, not a task's traceback later. That costs one small read a file.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import (
    OPTIONAL,
    REQUIRED,
    Mapping,
    canonicalise,
    is_missing,
    malformed,
    require_columns,
)
from ray_userrep.logs.config import LogsConfig
from ray_userrep.logs.files import CsvFormat, Part, parts
from ray_userrep.logs.ids import convert_ids, id_type
from ray_userrep.logs.shape import ROWS_PER_FILE, Shape, blocks, column_names, head
from ray_userrep.logs.times import ISO, parse_timestamps
from ray_userrep.storage import FileEntry

_THREADS = 16

Reject = Callable[[pa.Table], pa.ChunkedArray]


@dataclass(frozen=True)
class Layout:
    """What a reader knows of its files.

    `columns` maps canonical names to its source columns (optional ones are taken where the files have them); `extra`
    are source columns that `reject` looks at to name the rows it refuses (null: none). Where lines are not
    interactions, `shape` makes rows of them, and `columns` and `extra` are columns of those.
    """

    columns: dict[str, str]
    csv: CsvFormat = field(default_factory=CsvFormat)
    formats: tuple[str, ...] = (ISO,)
    extra: tuple[str, ...] = ()
    reject: Reject | None = None
    shape: Shape | None = None


class Scan(NamedTuple):
    """The interaction files of a log with everything settled that reading them needs; cheap to send to a task."""

    layout: Layout
    mapping: Mapping
    work: list[tuple[int, Part]]  # file number, piece of the file

    def dataset(self) -> ray.data.Dataset:
        """Canonical interactions, one task a part of a file."""

        def read(batch: pa.Table) -> Iterator[pa.Table]:
            for index in batch.column("part").to_pylist():
                yield from (table for table, _ in self.read(*self.work[index]))

        indices = ray.data.from_items(
            [{"part": index} for index in range(len(self.work))], override_num_blocks=len(self.work)
        )
        return indices.map_batches(read, batch_size=1, batch_format="pyarrow")

    def tables(self, extra: list[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Canonical rows beside raw ones that also hold the `extra` source columns, in this process."""
        for number, part in self.work:
            yield from self.read(number, part, extra)

    def read(self, number: int, part: Part, extra: list[str] | None = None) -> Iterator[tuple[pa.Table, pa.Table]]:
        """One part, as canonical rows beside raw ones."""
        columns = _source_columns(self.mapping.columns, self.layout, extra or [])
        here = column_names(part.file, self.layout.csv, self.layout.shape)
        _require(here, extra or [], part.file)
        columns = {name: kind for name, kind in columns.items() if name in here}
        row, broken = number * ROWS_PER_FILE + part.first_row, list[str]()
        for raw in blocks(part, self.layout.csv, self.layout.shape, columns, broken, row):
            reasons = self.layout.reject(raw) if self.layout.reject else None
            yield canonicalise(raw, self.mapping, part.file.uri, row, reasons), raw
            row += raw.num_rows
        if broken:
            yield malformed(self.mapping, len(broken), row), pa.table({name: pa.nulls(len(broken)) for name in columns})


class _Seen(NamedTuple):
    """What the first rows of a file show."""

    file: FileEntry
    parts: list[Part]
    columns: list[str]
    rows: int
    user_type: pa.DataType
    item_type: pa.DataType
    num_times: int
    odd_time: str | None


def scan(config: LogsConfig, files: list[FileEntry], layout: Layout, first_file: int = 0) -> Scan:
    """Look at the first rows of every file and settle columns, id types and spellings.

    `first_file` numbers the first file, where one log takes several scans.

    Raises:
        UserError: no rows; a column is missing or of a wrong type; ids of mixed type; no time can be read.
    """
    unknown = [name for name in config.columns if name not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        raise UserError(f"logs.columns: unknown {unknown[0]!r}; it takes {', '.join((*REQUIRED, *OPTIONAL))}")
    formats = layout.formats if config.timestamp_format is None else (config.timestamp_format,)
    columns, text = {**layout.columns, **config.columns}, pa.string()
    mapping = Mapping(columns, text, text, config.timestamp_unit, formats)
    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(lambda file: _look(file, mapping, layout, config.ids == "string"), files))
    if not any(one.rows for one in seen):
        raise UserError(f"the log is empty: no rows in {_some(files)}")
    _require_times(seen, mapping)
    _require_mapped(config, seen)
    there = {name for one in seen for name in one.columns}
    kept = {name: column for name, column in mapping.columns.items() if column in there}
    user_type = _agreed([(one.file, one.user_type) for one in seen], kept["user_id"])
    item_type = _agreed([(one.file, one.item_type) for one in seen], kept["item_id"])
    mapping = replace(mapping, columns=kept, user_type=user_type, item_type=item_type)
    return Scan(layout, mapping, [(number, part) for number, one in enumerate(seen, first_file) for part in one.parts])


def _look(file: FileEntry, mapping: Mapping, layout: Layout, ids_are_text: bool) -> _Seen:
    names = column_names(file, layout.csv, layout.shape)
    if not names:
        return _Seen(file, [], [], 0, pa.null(), pa.null(), 0, None)
    require_columns(names, mapping, file.uri)
    _require(names, layout.extra, file)
    wanted = {name: kind for name, kind in _source_columns(mapping.columns, layout, []).items() if name in names}
    first = head(file, layout.csv, layout.shape, wanted)
    user, item, time = (mapping.columns[name] for name in REQUIRED)
    times = parse_timestamps(first[time], mapping.timestamp_unit, mapping.timestamp_formats, time, file.uri)
    odd = first[time].filter(pc.and_(pc.is_null(times), pc.invert(is_missing(first[time]))))
    return _Seen(
        file=file,
        parts=parts(file),
        columns=names,
        rows=first.num_rows,
        user_type=_id_type(first[user], user, file, ids_are_text),
        item_type=_id_type(first[item], item, file, ids_are_text),
        num_times=len(times) - times.null_count,
        odd_time=str(odd[0]) if len(odd) else None,
    )


def _id_type(values: pa.ChunkedArray, column: str, file: FileEntry, is_text: bool) -> pa.DataType:
    """The type of an id column, once its first values have been shown to fit it."""
    kind = id_type(values, column, file.uri)
    kind = pa.string() if is_text and not pa.types.is_null(kind) else kind
    convert_ids(values, kind, column, file.uri)
    return kind


def _source_columns(columns: dict[str, str], layout: Layout, extra: list[str]) -> dict[str, pa.DataType | None]:
    wanted: dict[str, pa.DataType | None] = {column: OPTIONAL.get(name) for name, column in columns.items()}
    return wanted | {name: None for name in (*layout.extra, *extra) if name not in wanted}


def _require(names: list[str], wanted: Iterable[str], file: FileEntry) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise UserError(
            f"{file.uri} has no column {missing[0]!r}, which this layout has; its columns are {', '.join(names)}"
        )


def _require_times(seen: list[_Seen], mapping: Mapping) -> None:
    odd = next((one for one in seen if one.odd_time is not None), None)
    if odd is not None and not any(one.num_times for one in seen):
        raise UserError(
            f"no timestamp can be read: column {mapping.columns['timestamp']!r} of {odd.file.uri} holds, for example, "
            f"{odd.odd_time!r}; say how it is written: logs.timestamp_format for text, logs.timestamp_unit for numbers"
        )


def _require_mapped(config: LogsConfig, seen: list[_Seen]) -> None:
    there = {name for one in seen for name in one.columns}
    for name, column in config.columns.items():
        if column not in there:
            raise UserError(
                f"logs.columns maps {name} to {column!r}, which no file has; there are {', '.join(sorted(there))}"
            )


def _agreed(found: list[tuple[FileEntry, pa.DataType]], column: str) -> pa.DataType:
    told = [(file, kind) for file, kind in found if not pa.types.is_null(kind)]
    if not told:
        return pa.string()
    first, kind = told[0]
    for file, other in told:
        if other != kind:
            raise UserError(
                f"column {column!r} has ids of mixed type: {kind} in {first.uri}, {other} in {file.uri}; "
                f"write them alike, or set logs.ids string to read all of them as text"
            )
    return kind


def _some(files: list[FileEntry]) -> str:
    return files[0].uri if len(files) == 1 else f"{files[0].uri} and {len(files) - 1} more"
