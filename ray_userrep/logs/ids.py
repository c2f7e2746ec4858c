"""Ids as the source has them: int64 or text, exactly, never by way of a float.

The type of an id column is settled once for the whole log, from the first rows of every file; a later value that does
not fit stops the job rather than change what an id means.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.errors import UserError

_WHOLE = r"^-?(0|[1-9]\d{0,18})$"  # no leading zeros: 007 is text
_WHOLE_OR_FLOAT = r"^-?(0|[1-9]\d{0,18})(\.0*)?$"
_NUMBER = r"^-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?$"
_EXACT = 2**53  # from here on neighbouring whole numbers share a float


def is_text(kind: pa.DataType) -> bool:
    """Whether Arrow holds this type as text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def id_type(values: pa.ChunkedArray, column: str, file: str) -> pa.DataType:
    """int64, string, or null where there is nothing to tell by.

    Text counts as int64 when every value is a whole number written the usual way (a final `.0`, which a float column
    leaves in CSV, is dropped).

    Raises:
        UserError: the column is neither text nor whole numbers.
    """
    kind = values.type
    if values.null_count == len(values):
        return pa.null()
    if is_text(kind):
        text = values.cast(pa.string())
        filled = text.filter(pc.not_equal(text, ""))
        if len(filled) == 0:
            return pa.null()
        return pa.int64() if pc.all(pc.match_substring_regex(filled, _NUMBER)).as_py() else pa.string()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.int64()
    raise UserError(f"column {column!r} of {file} is {kind}: ids are text or whole numbers")


def convert_ids(values: pa.ChunkedArray, target: pa.DataType, column: str, file: str) -> pa.ChunkedArray:
    """The ids as `target` (int64 or string); empty text becomes null.

    Raises:
        UserError: a value cannot be held exactly.
    """
    kind = values.type
    if pa.types.is_null(kind) or pa.types.is_null(target):
        return pa.chunked_array([pa.nulls(len(values), target)])
    if pa.types.is_floating(kind):
        values = _whole_floats(values, column, file)
    elif is_text(kind):
        values = values.cast(pa.string())
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        return _parse(values, column, file) if target == pa.int64() else values
    elif not pa.types.is_integer(kind):
        raise UserError(f"column {column!r} of {file} is {kind}: ids are text or whole numbers")
    return _cast(values, target, column, file)


def _whole_floats(values: pa.ChunkedArray, column: str, file: str) -> pa.ChunkedArray:
    values = values.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    bad = pc.or_(pc.not_equal(values, pc.floor(values)), pc.greater_equal(pc.abs(values), float(_EXACT)))
    if pc.any(bad).as_py():
        _refuse(values.filter(bad), column, file)
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
        raise UserError(f"column {column!r} of {file} holds an id beyond int64: {error}") from error


def _refuse(bad: pa.ChunkedArray, column: str, file: str) -> None:
    value = bad[0].as_py()
    if isinstance(value, float) or pc.all(pc.match_substring_regex(bad.slice(0, 1), _NUMBER)).as_py():
        raise UserError(
            f"column {column!r} of {file} holds {value!r} as an id: a float with a fraction or at least 2**53 is not "
            f"exact; write whole numbers or text, or set logs.ids string for a text file"
        )
    raise UserError(
        f"column {column!r} has ids of mixed type: whole numbers so far, {value!r} in {file}; "
        f"set logs.ids string to read all of them as text"
    )
