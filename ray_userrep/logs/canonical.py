"""Canonical interactions: what every reader turns its rows into.

Nothing is dropped here: a row that cannot be used keeps what could be read of it and says why in `reason`, so that
every count adds up and the rejected rows can be looked at. The price is a few null columns for bad rows.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.ids import convert_ids, is_text
from ray_userrep.logs.times import ISO, TIMESTAMP, parse_timestamps

REQUIRED = ("user_id", "item_id", "timestamp")
OPTIONAL = {
    "domain": pa.string(),
    "event": pa.string(),
    "category": pa.string(),
    "rating": pa.float64(),
    "price": pa.float64(),
}

MISSING_USER = "missing_user"
MISSING_ITEM = "missing_item"
MISSING_TIMESTAMP = "missing_timestamp"
BAD_TIMESTAMP = "bad_timestamp"
NEGATIVE_TIMESTAMP = "negative_timestamp"
MALFORMED_LINE = "malformed_line"

_FLOAT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Mapping:
    """How source columns become canonical ones.

    `columns` maps canonical to source names; `user_type` and `item_type` are int64 or string; `formats` are the
    spellings of text timestamps, tried in order.
    """

    columns: dict[str, str]
    user_type: pa.DataType
    item_type: pa.DataType
    timestamp_unit: str = "s"
    timestamp_formats: tuple[str, ...] = (ISO,)

    @property
    def optional(self) -> list[str]:
        """The optional canonical columns of this log, in canonical order."""
        return [name for name in OPTIONAL if name in self.columns]

    def schema(self) -> pa.Schema:
        """The canonical schema: required columns, `row`, optional columns, `reason`."""
        fields = [
            ("user_id", self.user_type),
            ("item_id", self.item_type),
            ("timestamp", TIMESTAMP),
            ("row", pa.int64()),
        ]
        fields += [(name, OPTIONAL[name]) for name in self.optional]
        return pa.schema([*fields, ("reason", pa.string())])


def canonicalise(
    raw: pa.Table, mapping: Mapping, file: str, first_row: int, reasons: pa.ChunkedArray | None = None
) -> pa.Table:
    """Raw rows as canonical interactions, row for row.

    `first_row` numbers the first row; `reasons` are the reader's own grounds for rejection, null where there are none,
    and come before the general ones.

    Raises:
        UserError: a column is missing or of a wrong type, or an id cannot be held exactly.
    """
    require_columns(raw.column_names, mapping, file)
    source = {name: raw.column(column) for name, column in mapping.columns.items() if column in raw.column_names}
    users = convert_ids(source["user_id"], mapping.user_type, mapping.columns["user_id"], file)
    items = convert_ids(source["item_id"], mapping.item_type, mapping.columns["item_id"], file)
    times = parse_timestamps(
        source["timestamp"], mapping.timestamp_unit, mapping.timestamp_formats, mapping.columns["timestamp"], file
    )
    rows = pa.array(np.arange(first_row, first_row + raw.num_rows, dtype=np.int64))
    optional = [
        _optional(source.get(name), OPTIONAL[name], raw.num_rows, mapping.columns[name], file)
        for name in mapping.optional
    ]
    reason = _reasons(users, items, times, source["timestamp"], reasons)
    return pa.table([users, items, times, rows, *optional, reason], schema=mapping.schema())


def require_columns(names: list[str], mapping: Mapping, file: str) -> None:
    """Check that a file has the columns that ids and times come from.

    Raises:
        UserError: one is missing; the message lists what there is.
    """
    for name in REQUIRED:
        column = mapping.columns[name]
        if column not in names:
            raise UserError(
                f"{file} has no column {column!r} for {name}; its columns are {', '.join(names)}: "
                f'map them with logs.columns, as in {{"{name}": "COLUMN"}}, or name logs.reader'
            )


def malformed(mapping: Mapping, count: int, first_row: int) -> pa.Table:
    """Rejected rows that stand for lines which could not be split into columns."""
    rows = pa.array(np.arange(first_row, first_row + count, dtype=np.int64))
    known = {"row": rows, "reason": pa.array([MALFORMED_LINE] * count)}
    columns = [known.get(field.name, pa.nulls(count, field.type)) for field in mapping.schema()]
    return pa.table(columns, schema=mapping.schema())


def _reasons(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    times: pa.ChunkedArray,
    raw_times: pa.ChunkedArray,
    reasons: pa.ChunkedArray | None,
) -> pa.ChunkedArray:
    no_time = pc.is_null(times)
    conditions = {
        MISSING_USER: pc.is_null(users),
        MISSING_ITEM: pc.is_null(items),
        MISSING_TIMESTAMP: pc.and_(no_time, is_missing(raw_times)),
        BAD_TIMESTAMP: no_time,
        NEGATIVE_TIMESTAMP: pc.less(times.cast(pa.int64()), 0),
    }
    found = reasons if reasons is not None else pa.chunked_array([pa.nulls(len(users), pa.string())])
    for reason, condition in conditions.items():
        here = pc.and_(pc.is_null(found), pc.fill_null(condition, False))
        found = pc.if_else(here, pa.scalar(reason), found)
    return found


def is_missing(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null, NaN or empty text."""
    if is_text(values.type):
        return pc.fill_null(pc.equal(values.cast(pa.string()), ""), True)
    return pc.is_null(values, nan_is_null=True)


def _optional(
    values: pa.ChunkedArray | None, kind: pa.DataType, count: int, column: str, file: str
) -> pa.ChunkedArray | pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    if is_text(values.type) and kind == pa.float64():
        text = values.cast(pa.string())
        numeric = pc.match_substring_regex(text, _FLOAT)
        return pc.if_else(numeric, text, pa.scalar(None, pa.string())).cast(pa.float64())
    if pa.types.is_nested(values.type):
        raise UserError(f"column {column!r} of {file} is {values.type}: it should be {kind}")
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"column {column!r} of {file} is {values.type}: it should be {kind}: {error}") from error
