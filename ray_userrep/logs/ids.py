"""Ids as the source has them: int64 or text, exactly, never by way of a float.

The type of an id column is settled once for the whole log, from the first rows of every file; a later value that does
not fit stops the job rather than change what an id means. Whatever the format, an id that is empty, blank or written as
NA, null, NaN or None is none: the one user that they would make has thousands of other people's rows.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError
from ray_userrep.logs.damage import OtherSchema

_WHOLE = r"^-?(0|[1-9]\d{0,18})$"  # no leading zeros: 007 is text
_WHOLE_OR_FLOAT = r"^-?(0|[1-9]\d{0,18})(\.0*)?$"
_NUMBER = r"^-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?$"
_EXACT = 2**53  # from here on neighbouring whole numbers share a float
_EXACT_BITS = {16: 11, 32: 24, 64: 53}
_NONE = r"^([ \t]*|NULL|null|NaN|nan|None|NA|N/A|<NA>|\\N)$"
_BEYOND = re.compile(r"-?[1-9]\d{18,}")
_UTF8 = (
    r"^(?:[\x00-\x7F]|[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}"
    r"|\xED[\x80-\x9F][\x80-\xBF]|\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}"
    r"|\xF4[\x80-\x8F][\x80-\xBF]{2})*$"
)


def is_text(kind: pa.DataType) -> bool:
    """Whether Arrow holds this type as text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def valid_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text or bytes as text, null where they are not UTF-8; other types as they are."""
    if is_text(values.type):
        values = values.cast(pa.string()).cast(pa.binary())
    elif not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return values
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        values = values.cast(pa.binary())
        valid = pc.match_substring_regex(values, _UTF8)
        return pc.if_else(valid, values, pa.scalar(None, pa.binary())).cast(pa.string())


def named(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text, null where a writer says that there is none."""
    return pc.if_else(pc.match_substring_regex(text, _NONE), pa.scalar(None, text.type), text)


def is_whole(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which texts are whole numbers written the usual way, a final `.0` left aside."""
    return pc.match_substring_regex(text, _WHOLE_OR_FLOAT)


def _exact_bound(kind: pa.DataType) -> float:
    """From where on neighbouring whole numbers share a float of this kind."""
    return 2.0 ** _EXACT_BITS[kind.bit_width]


def _digits(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimal numbers as text, without the zeros after their point."""
    return pc.replace_substring_regex(values.cast(pa.string()), r"\.0*$", "")


def inexact(values: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray | None:
    """Where floats, or text that was a float once, hold no id exactly; None where that is nowhere."""
    if pa.types.is_floating(values.type):
        bound = _exact_bound(values.type)
        values = values.cast(pa.float64())
        whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), bound))
        found = pc.invert(pc.or_(whole, pc.is_nan(values)))
    elif is_text(values.type) and target == pa.int64():
        if pc.all(pc.match_substring_regex(values, _WHOLE)).as_py() is not False:
            return None
        pointed = pc.and_(pc.match_substring_regex(values, _NUMBER), pc.match_substring_regex(values, r"[.eE]"))
        whole = pc.match_substring_regex(values, _WHOLE_OR_FLOAT)
        # A float is exact enough to tell on which side of 2^53 a whole number of text lies.
        size = pc.abs(pc.if_else(pc.and_(pointed, whole), values, pa.scalar(None, pa.string())).cast(pa.float64()))
        found = pc.and_(pointed, pc.or_kleene(pc.invert(whole), pc.greater_equal(size, float(_EXACT))))
    else:
        return None
    found = pc.fill_null(found, False)
    return found if pc.any(found).as_py() else None


def id_type(values: pa.ChunkedArray, column: str, file: str) -> pa.DataType:
    """int64, string, or null where there is nothing to tell by.

    Text counts as int64 when every value is a whole number written the usual way (a final `.0`, which a float column
    leaves in CSV, is dropped).

    Raises:
        OtherSchema: the column is neither text nor whole numbers.
    """
    kind = values.type
    if values.null_count == len(values):
        return pa.null()
    if is_text(kind) or pa.types.is_decimal(kind):
        filled = named(values.cast(pa.string()) if is_text(kind) else _digits(values)).drop_null()
        if len(filled) == 0:
            return pa.null()
        return pa.int64() if pc.all(pc.match_substring_regex(filled, _NUMBER)).as_py() else pa.string()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.int64()
    raise OtherSchema(f"column {column!r} of {file} is {kind}: ids are text or whole numbers")


def convert_ids(values: pa.ChunkedArray, target: pa.DataType, column: str, file: str) -> pa.ChunkedArray:
    """The ids as `target` (int64 or string); text that says that there is none becomes null.

    Raises:
        UserError: a value cannot be held exactly.
    """
    kind = values.type
    if pa.types.is_null(kind) or pa.types.is_null(target):
        return pa.chunked_array([pa.nulls(len(values), target)])
    if pa.types.is_floating(kind):
        values = _whole_floats(values, column, file)
    elif is_text(kind) or pa.types.is_decimal(kind):
        values = named(values.cast(pa.string()) if is_text(kind) else _digits(values))
        return _parse(values, column, file) if target == pa.int64() else values
    elif not pa.types.is_integer(kind):
        raise OtherSchema(f"column {column!r} of {file} is {kind}: ids are text or whole numbers")
    return _cast(values, target, column, file)


def _whole_floats(values: pa.ChunkedArray, column: str, file: str) -> pa.ChunkedArray:
    source, bound = values, _exact_bound(values.type)
    values = values.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    bad = pc.or_(pc.not_equal(values, pc.floor(values)), pc.greater_equal(pc.abs(values), bound))
    if pc.any(bad).as_py():
        _refuse(source.filter(bad), column, file)
    return values.cast(pa.int64())


def _parse(text: pa.ChunkedArray, column: str, file: str) -> pa.ChunkedArray:
    if pc.all(pc.match_substring_regex(text, _WHOLE)).as_py() is not False:
        return _cast(text, pa.int64(), column, file)
    odd = pc.invert(pc.match_substring_regex(text, _WHOLE_OR_FLOAT))
    if pc.any(odd).as_py():
        _refuse(text.filter(odd), column, file)
    # Only text with a point was a float once, and a float is exact below 2^53 only.
    pointed = pc.match_substring(text, ".")
    whole = _cast(pc.replace_substring_regex(text, r"\.0*$", ""), pa.int64(), column, file)
    too_large = pc.and_(pointed, pc.greater_equal(pc.abs(whole), _EXACT))
    if pc.any(too_large).as_py():
        _refuse(text.filter(too_large), column, file)
    return whole


def _cast(values: pa.ChunkedArray, target: pa.DataType, column: str, file: str) -> pa.ChunkedArray:
    try:
        return values.cast(target)
    except pa.ArrowInvalid as error:
        raise UserError(_beyond_message(str(error), column, file)) from error


def _refuse(bad: pa.ChunkedArray, column: str, file: str) -> None:
    value = bad[0].as_py()
    if isinstance(value, str) and _BEYOND.fullmatch(value):
        raise UserError(_beyond_message(value, column, file))
    if isinstance(value, float) or pc.all(pc.match_substring_regex(bad.slice(0, 1), _NUMBER)).as_py():
        raise UserError(inexact_message(bad, column, file))
    raise UserError(
        f"column {column!r} has ids of mixed type: whole numbers so far, {value!r} in {file}; "
        f"set logs.ids string to read all of them as text"
    )


def _beyond_message(told: str, column: str, file: str) -> str:
    return f"column {column!r} of {file} holds an id beyond int64: {told}; set logs.ids string to read all ids as text"


def inexact_message(bad: pa.ChunkedArray, column: str, file: str) -> str:
    """Why the first of some floats is refused."""
    bits = _EXACT_BITS[bad.type.bit_width] if pa.types.is_floating(bad.type) else 53
    return (
        f"column {column!r} of {file} holds {bad[0].as_py()!r} as an id: a float with a fraction or at least 2**{bits} "
        f"is not exact; write whole numbers or text, or set logs.ids string for a text file"
    )
