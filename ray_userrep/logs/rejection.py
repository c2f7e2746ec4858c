"""Why a row cannot be used: the quarantine's words, and the columns that carry them.

The first ground that applies is the one that counts: a row has one reason, so that the counts add up.
"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.damage import WHOLE_FILE
from ray_userrep.logs.ids import is_text
from ray_userrep.logs.times import TIMESTAMP

MISSING_USER = "missing_user"
MISSING_ITEM = "missing_item"
MISSING_TIMESTAMP = "missing_timestamp"
BAD_TIMESTAMP = "bad_timestamp"
NEGATIVE_TIMESTAMP = "negative_timestamp"
ABSURD_TIMESTAMP = "absurd_timestamp"
MALFORMED_LINE = "malformed_line"
INVALID_TEXT = "invalid_text"
INEXACT_ID = "inexact_id"

# What no sane writer leaves behind. A missing id is not among it (a visitor who is not logged in), nor are the reasons
# that a reader knows from its layout (a cancelled order).
DAMAGE = frozenset(
    (
        *WHOLE_FILE,
        MISSING_TIMESTAMP,
        BAD_TIMESTAMP,
        NEGATIVE_TIMESTAMP,
        ABSURD_TIMESTAMP,
        MALFORMED_LINE,
        INVALID_TEXT,
        INEXACT_ID,
    )
)
REJECTION = ("reason", "file", "detail")

CURES = {INVALID_TEXT: "ids that are not UTF-8 are read where logs.layout.encoding says what they are, such as latin-1"}

_ABSURD = pa.scalar(dt.datetime(2100, 1, 1, tzinfo=dt.UTC), TIMESTAMP)  # the first moment that nobody can have logged
_DETAIL = 200  # characters


def either(one: pa.ChunkedArray | None, other: pa.ChunkedArray | None) -> pa.ChunkedArray | None:
    """Where one of two grounds applies; None is nowhere."""
    if one is None or other is None:
        return other if one is None else one
    return pc.or_(one, other)


def is_missing(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null, NaN or empty text."""
    if is_text(values.type):
        return pc.fill_null(pc.equal(values.cast(pa.string()), ""), True)
    return pc.is_null(values, nan_is_null=True)


def time_grounds(times: pa.ChunkedArray, raw_times: pa.ChunkedArray) -> dict[str, pa.ChunkedArray | None]:
    """Where a time is missing, unreadable or one that no interaction has."""
    no_time = pc.is_null(times)
    return {
        MISSING_TIMESTAMP: pc.and_(no_time, is_missing(raw_times)),
        BAD_TIMESTAMP: no_time,
        NEGATIVE_TIMESTAMP: pc.less(times.cast(pa.int64()), 0),
        ABSURD_TIMESTAMP: pc.greater_equal(times, _ABSURD),
    }


def first_reason(
    grounds: dict[str, pa.ChunkedArray | None], count: int, reasons: pa.ChunkedArray | None
) -> pa.ChunkedArray:
    """The first ground for rejection of each row."""
    found = reasons if reasons is not None else pa.chunked_array([pa.nulls(count, pa.string())])
    for reason, ground in grounds.items():
        if ground is not None and pc.any(ground).as_py():
            here = pc.and_(pc.is_null(found), pc.fill_null(ground, False))
            found = pc.if_else(here, pa.scalar(reason), found)
    return found


def explain(
    reason: pa.ChunkedArray,
    lost: list[pa.ChunkedArray],
    file: str,
    inexact_ids: dict[str, pa.ChunkedArray | None],
    found: dict[str, pa.ChunkedArray],
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The file of each rejected row, or of which a number was lost, and what stood where an id or a time was due."""
    none = pa.scalar(None, pa.string())
    details = pa.chunked_array([pa.nulls(len(reason), pa.string())])
    odd = [values for values in (reason, *lost) if values.null_count < len(values)]
    if not odd:
        return details, details
    inexact = pc.equal(reason, INEXACT_ID)
    places = {name: pc.and_(inexact, bad) for name, bad in inexact_ids.items() if bad is not None}
    if "timestamp" in found:
        odd_times = pa.array([BAD_TIMESTAMP, NEGATIVE_TIMESTAMP, ABSURD_TIMESTAMP])
        places["timestamp"] = pc.is_in(reason, value_set=odd_times)
    for name, here in places.items():
        here = pc.fill_null(here, False).combine_chunks()
        told = pc.utf8_slice_codeunits(found[name].filter(here).cast(pa.string()), 0, _DETAIL)  # of few rows
        details = pa.chunked_array([pc.replace_with_mask(details.combine_chunks(), here, told.combine_chunks())])
    return pc.if_else(pc.is_valid(pc.coalesce(*odd)), pa.scalar(file), none), details


def rejected(schema: pa.Schema, reason: str, file: str, first_row: int, details: list[str]) -> pa.Table:
    """Records of what could not become rows at all: broken lines, or the rest of a file."""
    rows = pa.array(np.arange(first_row, first_row + len(details), dtype=np.int64))
    known = {
        "row": rows,
        "reason": pa.array([reason] * len(details)),
        "file": pa.array([file] * len(details)),
        "detail": pa.array([detail[:_DETAIL] for detail in details]),
    }
    columns = [known.get(field.name, pa.nulls(len(details), field.type)) for field in schema]
    return pa.table(columns, schema=schema)
