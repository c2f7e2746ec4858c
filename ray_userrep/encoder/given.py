"""Histories and tables as callers hold them: lists of lists, arrays, and columns and tables of pandas, polars or Arrow.

Text, flat lists and dicts are sequences too, and would be read as other users than were meant: whatever is not one list
a user is refused here.

Shapes: B users, N entries of all of them.
"""

import math
import reprlib
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.errors import UserError


class Lists(NamedTuple):
    """The entries of all users end to end, `[N]`, and how many each has, `[B]`."""

    values_N: pa.Array
    lengths_B: NDArray[np.int64]


def read_lists(given: Iterable[Any], kind: pa.DataType, called: str) -> Lists:
    """One list a user, of which a missing one is empty; `kind` is the type of entries where there are none.

    Raises:
        UserError: it is not one list a user; the message says what they are lists of, as `called`.
    """
    column = _column(given, called)
    lists = column if isinstance(column, pa.Array) else _from_python(column, called)
    if pa.types.is_dictionary(lists.type):
        lists = lists.dictionary_decode()
    if pa.types.is_null(lists.type):
        lists = lists.cast(pa.list_(pa.null()))
    if not _holds_lists(lists.type):
        raise _unlike(called, f"a column of {lists.type}")
    lengths_B = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values_N = pc.list_flatten(lists)
    if pa.types.is_dictionary(values_N.type):
        values_N = values_N.dictionary_decode()
    return Lists(values_N.cast(kind) if pa.types.is_null(values_N.type) else values_N, lengths_B)


def read_values(given: Iterable[Any], called: str) -> pa.Array:
    """One value a user; where there is a list of each, as of all rows of a table, the newest.

    Raises:
        UserError: it is neither, or values are of several kinds.
    """
    column = _column(given, called)
    try:
        values = column if isinstance(column, pa.Array) else pa.array(list(column), from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"the encoder takes {called} as a value a user: {' '.join(str(error).split())}") from error
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not _holds_lists(values.type):
        return values
    lists = read_lists(values, pa.string(), called)
    return lists.values_N.take(pa.array(np.cumsum(lists.lengths_B) - 1, mask=lists.lengths_B == 0))


def read_table(given: Any, called: str) -> pa.Table:
    """A table of pandas, polars, Arrow, or of whatever gives an Arrow stream.

    Raises:
        UserError: it is none, or a column holds values of several kinds.
    """
    given = given.to_arrow() if hasattr(given, "to_arrow") else given
    try:
        return given if isinstance(given, pa.Table) else pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"a table of {called} is wanted, a row each (given {type(given).__name__}: {told})") from error


def microseconds_of(times_N: pa.Array) -> NDArray[np.int64]:
    """Times since the epoch, `[N]`.

    Raises:
        UserError: one is missing, or they are no times.
    """
    if times_N.null_count:
        raise UserError("timestamps: one of the times is missing")
    if pa.types.is_integer(times_N.type) or pa.types.is_floating(times_N.type):
        raise UserError("timestamps: numbers may count anything: make times of them (pandas.to_datetime)")
    try:
        # Times finer than the log's are cut off, not refused.
        moments_N = times_N.cast(pa.timestamp("us"), safe=not pa.types.is_timestamp(times_N.type))
    except pa.ArrowException as error:
        raise UserError(f"timestamps: {times_N.type} is no time ({' '.join(str(error).split())})") from error
    found: NDArray[np.int64] = moments_N.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def microseconds(moment: datetime | None) -> int | None:
    """Since the epoch; a moment without a zone is UTC, as times of logs are."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise UserError(f"until: takes a datetime (given {moment!r})")
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)


def _column(given: Any, called: str) -> Any:
    """What is given, or the one column of a table, as Arrow where it is Arrow within."""
    names = getattr(given, "column_names", getattr(given, "columns", None))
    if names is not None:
        if len(names) != 1:
            raise _unlike(called, f"a table: of its columns {reprlib.repr(list(names))} give the one that holds them")
        given = given[names[0]]
    given = given.to_arrow() if hasattr(given, "to_arrow") else given
    return given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given


def _from_python(given: Any, called: str) -> pa.Array:
    if not _is_list(given):
        raise _unlike(called, reprlib.repr(given))
    if hasattr(given, "isna"):
        given = [None if is_missing else row for row, is_missing in zip(given, given.isna(), strict=True)]
    rows = [None if isinstance(row, float) and math.isnan(row) else row for row in given]
    for user, row in enumerate(rows):
        if row is not None and not _is_list(row):
            raise _unlike(called, f"{reprlib.repr(row)} for user {user}")
    try:
        # A row of pandas or torch is nothing to Arrow, that of numpy is.
        return pa.array([np.asarray(row) if hasattr(row, "__array__") else row for row in rows], from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"the encoder's {called} cannot be read: {' '.join(str(error).split())}") from error


def _is_list(given: object) -> bool:
    # Sets are in no order; an array without axes has no length.
    is_long = hasattr(given, "__len__") and getattr(given, "ndim", 1) > 0
    return is_long and not isinstance(given, str | bytes | Mapping | Set)


def _holds_lists(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    return any(test(kind) for test in (*tests, *views))


def _unlike(called: str, what: str) -> UserError:
    return UserError(f"the encoder takes a list of {called} for each user, as [[…], […]] (given {what})")
