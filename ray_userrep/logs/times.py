"""Timestamps of any common spelling to microseconds in UTC.

Numbers count from 1970 in the unit that the configuration says; text without a zone is UTC. What cannot be read, or
lies past the year 9999, becomes null for the caller to quarantine: milliseconds taken for seconds do not slip through.
Decimal numbers, and whole ones where a spelling is given, are read as the text of their digits, which is exact.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.damage import OtherSchema
from ray_userrep.logs.ids import is_text

TIMESTAMP = pa.timestamp("us", tz="UTC")
ISO = "ISO8601"

_END = 253_402_300_800  # seconds from 1970 to the year 10000
_MICROS = {"d": 86_400 * 10**6, "s": 10**6, "ms": 10**3, "us": 1}  # of a unit; a nanosecond is less than one
_WHOLE = r"^-?\d{1,18}$"
_NUMBER = r"^-?\d+\.?\d*([eE][+-]?\d+)?$"
_MIDNIGHT = r"[T ]24:00(:00([.,]0+)?)?($|[^0-9:.,])"
_DAY = pa.scalar(_MICROS["d"], pa.duration("us"))
_FLOAT32_EXACT = 2**24


def parse_timestamps(
    values: pa.ChunkedArray, unit: str, formats: tuple[str, ...], column: str, file: str, origin: int = 0
) -> pa.ChunkedArray:
    """Times in microseconds, null where none can be read.

    `unit` (d, s, ms, us, ns) is for numbers, which count from `origin`, in days after 1970-01-01; `formats` are
    strptime formats for text, tried in order; where `ISO` is among them, text made of digits is a number.

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
    if pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and ISO not in formats):
        return _from_text(values.cast(pa.string()), unit, formats, origin)
    if pa.types.is_integer(kind):
        return _after(_from_integers(values, unit), origin)
    if pa.types.is_floating(kind):
        return _after(_from_floats(_exact(values, column, file), unit), origin)
    if is_text(kind):
        return _from_text(values.cast(pa.string()), unit, formats, origin)
    raise OtherSchema(f"column {column!r} of {file} is {kind}: timestamps are times, dates, numbers or text")


def _exact(values: pa.ChunkedArray, column: str, file: str) -> pa.ChunkedArray:
    """Floats as doubles.

    Raises:
        OtherSchema: they are of a kind that holds no such numbers, so that neighbouring times have become one.
    """
    doubles = values.cast(pa.float64())
    if values.type != pa.float64() and pc.any(pc.greater_equal(pc.abs(doubles), float(_FLOAT32_EXACT))).as_py():
        raise OtherSchema(
            f"column {column!r} of {file} is {values.type}, in which times from 2**24 on are rounded: "
            "store them as int64, double or timestamp"
        )
    return doubles


def _after(times: pa.ChunkedArray, origin: int) -> pa.ChunkedArray:
    """Times that were counted from 1970 as counted from another day."""
    return pc.add(times, pa.scalar(origin * _MICROS["d"], pa.duration("us"))) if origin else times


def _from_integers(values: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Whole numbers, exactly; nanoseconds lose their last three digits."""
    values = values.cast(pa.int64(), safe=False)  # an unsigned number past int64 turns negative: no time either
    last = min(_END * 10**6 // _MICROS[unit] if unit in _MICROS else _END * 10**9, 2**63) - 1
    kept = _where(pc.and_(pc.less_equal(values, last), pc.greater_equal(values, -last)), values)
    return _as_time(pc.divide(kept, 1000) if unit == "ns" else pc.multiply(kept, _MICROS[unit]))


def _from_floats(values: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    micros = pc.multiply(values, _MICROS.get(unit, 1e-3))
    kept = _where(pc.less(pc.abs(micros), _END * 1e6), micros)  # false for NaN and infinities
    return _as_time(pc.round(kept).cast(pa.int64()))


def _from_text(text: pa.ChunkedArray, unit: str, formats: tuple[str, ...], origin: int) -> pa.ChunkedArray:
    found = pa.chunked_array([pa.nulls(len(text), TIMESTAMP)])
    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^\+", "")
    if ISO in formats:
        number, is_whole = (pc.match_substring_regex(text, pattern) for pattern in (_NUMBER, _WHOLE))
        whole = _where(is_whole, text).cast(pa.int64())
        other = _where(pc.and_(number, pc.invert(is_whole)), text).cast(pa.float64())
        found = _after(pc.coalesce(_from_integers(whole, unit), _from_floats(other, unit)), origin)
        text = _where(pc.invert(number), text)
    for format in formats:
        # Without a digit it is no time, though pandas reads "today" as one.
        open_text = _where(pc.and_(pc.is_null(found), pc.match_substring_regex(text, r"\d")), text)
        if open_text.null_count < len(open_text):
            found = pc.coalesce(found, _iso(open_text) if format == ISO else _parsed(open_text, format))
    return found


def _iso(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 also with the zone's name, a comma before fractions, and midnight as the hour 24 of the day before."""
    late = pc.fill_null(pc.match_substring_regex(text, _MIDNIGHT), False)
    for pattern, plain in ((_MIDNIGHT, r"T00:00:00\3"), (r"(:\d{2}),(\d)", r"\1.\2"), (r"\s*(UTC|GMT)$", "")):
        text = pc.replace_substring_regex(text, pattern, plain)
    times = _parsed(text, ISO)
    return pc.if_else(late, pc.add(times, _DAY), times)


def _parsed(text: pa.ChunkedArray, format: str) -> pa.ChunkedArray:
    parsed = pd.to_datetime(text.to_pandas(), format=format, errors="coerce", utc=True)
    times = pa.chunked_array([pa.Array.from_pandas(parsed)])
    return _from_integers(times.cast(pa.int64()), times.type.unit)


def _as_time(micros: pa.ChunkedArray) -> pa.ChunkedArray:
    return micros.cast(TIMESTAMP)


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values that meet the condition, null elsewhere."""
    return pc.if_else(condition, values, pa.scalar(None, values.type))
