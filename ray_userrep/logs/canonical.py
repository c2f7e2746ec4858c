"""Canonical interactions: what every reader turns its rows into.

Nothing is dropped here: a row that cannot be used keeps what could be read of it and says why (`reason`), where
(`file`) and what stood there (`detail`), so that every count adds up and the rejected rows can be looked at. A price
or rating that is no number is null, and what stood there is kept as well. The price is four or five columns that are
null for good rows.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.ids import convert_ids, inexact, is_text, valid_text
from ray_userrep.logs.numbers import read_numbers, unread
from ray_userrep.logs.rejection import (
    INEXACT_ID,
    INVALID_TEXT,
    MISSING_ITEM,
    MISSING_USER,
    REJECTION,
    either,
    explain,
    first_reason,
    time_grounds,
)
from ray_userrep.logs.times import ISO, TIMESTAMP, parse_timestamps

REQUIRED = ("user_id", "item_id", "timestamp")
OPTIONAL = {
    "domain": pa.string(),
    "event": pa.string(),
    "category": pa.string(),
    "rating": pa.float64(),
    "price": pa.float64(),
    "review": pa.string(),
    "summary": pa.string(),
}
UNREAD = "unread "  # before the name of a column of numbers: what stood there and is none


@dataclass(frozen=True)
class ColumnMapping:
    """How source columns become canonical ones.

    `columns` maps canonical to source names, without `timestamp` where rows are taken as they stand; `user_type` and
    `item_type` are int64 or string; `formats` are the spellings of text timestamps, tried in order; numbers count from
    the day `timestamp_origin` after 1970-01-01.
    """

    columns: dict[str, str]
    user_type: pa.DataType
    item_type: pa.DataType
    timestamp_unit: str = "s"
    timestamp_formats: tuple[str, ...] = (ISO,)
    timestamp_origin: int = 0

    def times(self, values: pa.ChunkedArray, file: str) -> pa.ChunkedArray:
        """The times of a file's column, null where none can be read."""
        column, formats = self.columns["timestamp"], self.timestamp_formats
        return parse_timestamps(values, self.timestamp_unit, formats, column, file, self.timestamp_origin)

    @property
    def timed(self) -> bool:
        """Whether times are read; if not, a row's number stands for its time."""
        return "timestamp" in self.columns

    @property
    def required(self) -> list[str]:
        """The canonical columns that every file must have."""
        return [name for name in REQUIRED if name in self.columns]

    @property
    def optional(self) -> list[str]:
        """The optional canonical columns of this log, in canonical order."""
        return [name for name in OPTIONAL if name in self.columns]

    @property
    def numeric(self) -> list[str]:
        """The optional columns of numbers."""
        return [name for name in self.optional if OPTIONAL[name] == pa.float64()]

    def schema(self) -> pa.Schema:
        """The canonical schema: required columns, `row`, optional ones, numbers not read, why a row is rejected."""
        fields = [
            ("user_id", self.user_type),
            ("item_id", self.item_type),
            ("timestamp", TIMESTAMP),
            ("row", pa.int64()),
        ]
        fields += [(name, OPTIONAL[name]) for name in self.optional]
        fields += [(UNREAD + name, pa.string()) for name in self.numeric]
        return pa.schema([*fields, *((name, pa.string()) for name in REJECTION)])


def canonicalise(
    raw: pa.Table, mapping: ColumnMapping, file: str, first_row: int, reasons: pa.ChunkedArray | None = None
) -> pa.Table:
    """Raw rows as canonical interactions, row for row.

    `first_row` numbers the first row; `reasons` are the reader's own grounds for rejection, null where there are none,
    and come before the general ones.

    Raises:
        OtherSchema: a column is missing or of a wrong type.
        UserError: an id is not of the log's type.
    """
    require_columns(raw.column_names, mapping, file)
    source = {name: raw.column(column) for name, column in mapping.columns.items() if column in raw.column_names}
    found = {name: valid_text(values) for name, values in source.items()}
    users, no_user = _ids(found["user_id"], mapping.user_type, mapping.columns["user_id"], file)
    items, no_item = _ids(found["item_id"], mapping.item_type, mapping.columns["item_id"], file)
    rows = pa.array(np.arange(first_row, first_row + raw.num_rows, dtype=np.int64))
    times = mapping.times(found["timestamp"], file) if mapping.timed else rows.cast(TIMESTAMP)
    optional = {
        name: _optional(found.get(name), OPTIONAL[name], raw.num_rows, mapping.columns[name], file)
        for name in mapping.optional
    }
    lost = [_unread(found.get(name), optional[name]) for name in mapping.numeric]
    grounds = {
        INVALID_TEXT: either(*(_lost(source[name], found[name]) for name in ("user_id", "item_id"))),
        INEXACT_ID: either(no_user, no_item),
        MISSING_USER: pc.is_null(users),
        MISSING_ITEM: pc.is_null(items),
        **(time_grounds(times, source["timestamp"]) if mapping.timed else {}),
    }
    reason = first_reason(grounds, raw.num_rows, reasons)
    if not mapping.timed:
        times = pc.if_else(pc.is_valid(reason), pa.scalar(None, TIMESTAMP), times)
    why = explain(reason, lost, file, {"user_id": no_user, "item_id": no_item}, found)
    columns = [users, items, times, rows, *optional.values(), *lost, reason, *why]
    return pa.table(columns, schema=mapping.schema())


def require_columns(names: list[str], mapping: ColumnMapping, file: str) -> None:
    """Check that a file has the columns that ids and times come from.

    Raises:
        OtherSchema: one is missing; the message lists what there is.
    """
    missing = {name: mapping.columns[name] for name in mapping.required if mapping.columns[name] not in names}
    if missing:
        told = ", nor ".join(f"{column!r} for {name}" for name, column in missing.items())
        example = ", ".join(f'"{name}": "COLUMN"' for name in missing)
        other = "; a log without times is read with logs.order row" if "timestamp" in missing else ""
        raise OtherSchema(
            f"{file} has no column {told}; its columns are {', '.join(names)}: "
            f"map them with logs.columns, as in {{{example}}}, or name logs.reader{other}"
        )


def _ids(
    values: pa.ChunkedArray, target: pa.DataType, column: str, file: str
) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    """Ids of the wanted type, and which of them were floats that hold no id."""
    bad = inexact(values, target)
    if bad is not None:
        values = pc.if_else(bad, pa.scalar(None, values.type), values)
    return convert_ids(values, target, column, file), bad


def _lost(source: pa.ChunkedArray, found: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Where a value was there before it was read as text, and is no more."""
    if source.null_count == found.null_count:
        return None
    return pc.and_(pc.is_null(found), pc.is_valid(source))


def _unread(values: pa.ChunkedArray | None, numbers: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    if values is None or not is_text(values.type):
        return pa.chunked_array([pa.nulls(len(numbers), pa.string())])
    return unread(values, numbers)


def _optional(
    values: pa.ChunkedArray | None, kind: pa.DataType, count: int, column: str, file: str
) -> pa.ChunkedArray | pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    if is_text(values.type) and kind == pa.float64():
        return read_numbers(values)
    if pa.types.is_nested(values.type):
        raise OtherSchema(f"column {column!r} of {file} is {values.type}: it should be {kind}")
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OtherSchema(f"column {column!r} of {file} is {values.type}: it should be {kind}: {error}") from error
