"""Timestamps of any common spelling to microseconds in UTC.

Numbers count from 1970 in the unit that the configuration says; text without a zone is UTC. What cannot be read, or
lies past the year 9999, becomes null for the caller to quarantine: milliseconds taken for seconds do not slip through.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.ids import is_text

TIMESTAMP = pa.timestamp("us", tz="UTC")
ISO = "ISO8601"

_END = 253_402_300_800  # seconds from 1970 to the year 10000
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_WHOLE = r"^[+-]?\d{1,18}$"
_FRACTION = r"^[+-]?\d+\.\d+$"


def parse_timestamps(
    values: pa.ChunkedArray, unit: str, formats: tuple[str, ...], column: str, file: str
) -> pa.ChunkedArray:
    """Times in microseconds, null where none can be read.

    `unit` (s, ms, us, ns) is for numbers; `formats` are strptime formats for text, tried in order; where `ISO` is among
    them, text made of digits is a number.

    Raises:
        OtherSchema: the column is of a type that holds no times.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return values.cast(TIMESTAMP)
    if pa.types.is_timestamp(kind):
        return _from_integers(values.cast(pa.int64()), kind.unit)
    if pa.types.is_date(kind):
        return _from_integers(values.cast(pa.timestamp("s")).cast(pa.int64()), "s")
    if pa.types.is_integer(kind):
        return _from_integers(values, unit)
    if pa.types.is_floating(kind):
        return _from_floats(values.cast(pa.float64()), unit)
    if is_text(kind):
        return _from_text(values.cast(pa.string()), unit, formats)
    raise OtherSchema(f"column {column!r} of {file} is {kind}: timestamps are times, dates, numbers or text")


def _from_integers(values: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Whole numbers, exactly; nanoseconds lose their last three digits."""
    values = values.cast(pa.int64(), safe=False)  # an unsigned number past int64 turns negative: no time either
    last = min(_END * _PER_SECOND[unit], 2**63) - 1
    kept = _where(pc.and_(pc.less_equal(values, last), pc.greater_equal(values, -last)), values)
    if unit == "ns":
        return _as_time(pc.divide(kept, 1000))
    return _as_time(pc.multiply(kept, 10**6 // _PER_SECOND[unit]))


def _from_floats(values: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    kept = _where(pc.less(pc.abs(values), float(_END * _PER_SECOND[unit])), values)  # false for NaN and infinities
    return _as_time(pc.round(pc.multiply(kept, 10**6 / _PER_SECOND[unit])).cast(pa.int64()))


def _from_text(text: pa.ChunkedArray, unit: str, formats: tuple[str, ...]) -> pa.ChunkedArray:
    found = pa.chunked_array([pa.nulls(len(text), TIMESTAMP)])
    if ISO in formats:
        whole = _where(pc.match_substring_regex(text, _WHOLE), text).cast(pa.int64())
        fraction = _where(pc.match_substring_regex(text, _FRACTION), text).cast(pa.float64())
        found = pc.coalesce(_from_integers(whole, unit), _from_floats(fraction, unit))
        text = _where(pc.and_(pc.is_null(whole), pc.is_null(fraction)), text)
    for format in formats:
        # Without a digit it is no time, though pandas reads "today" as one.
        open_text = _where(pc.and_(pc.is_null(found), pc.match_substring_regex(text, r"\d")), text)
        if open_text.null_count < len(open_text):
            parsed = pd.to_datetime(open_text.to_pandas(), format=format, errors="coerce", utc=True)
            times = pa.chunked_array([pa.Array.from_pandas(parsed)])
            found = pc.coalesce(found, _from_integers(times.cast(pa.int64()), times.type.unit))
    return found


def _as_time(micros: pa.ChunkedArray) -> pa.ChunkedArray:
    return micros.cast(TIMESTAMP)


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values that meet the condition, null elsewhere."""
    return pc.if_else(condition, values, pa.scalar(None, values.type))
