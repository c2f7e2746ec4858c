"""Columns of the item table as features: for each item a list of texts that are equal or not, or a number's bucket.

`category.2` is the second entry of the lists in `category`; the feature `text` is the words of the texts. Nothing is
fitted and no vocabulary kept, so that another catalogue has the same features: a column of a million values costs
nothing here, and shares rows where it is hashed into fewer. Only numbers are parted at the quantiles of a catalogue.

Shapes: V items, N numbers that are known, E edges, fewer than there are buckets.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.errors import UserError

_ENTRY = re.compile(r"(?P<column>.+)\.(?P<place>[1-9]\d*)")
_NO_WORD = r"[^\p{L}\p{N}]+"


def column_of(name: str, there: list[str]) -> str:
    """The column that a feature is read from, of those that are there.

    Raises:
        UserError: there is none.
    """
    entry = _ENTRY.fullmatch(name)
    wanted = name if name in there or entry is None else entry["column"]
    if wanted not in there:
        others = ", ".join(other for other in there if other not in ("item_id", "count")) or "none"
        raise UserError(
            f"encoder.items reads the column {wanted!r}, which the items of this log lack; they have {others}: name "
            "these in encoder.items.columns (texts and lists) and encoder.items.numbers"
        )
    return wanted


def lists_of(table: pa.Table, name: str) -> pa.ListArray:
    """The texts of a feature, a list an item; null or empty where nothing is known, `[V]`.

    Raises:
        UserError: there is no such column, or it is neither text nor numbers nor lists of these.
    """
    column = column_of(name, table.column_names)
    values = table.column(column).combine_chunks()
    try:
        lists = (
            values.cast(pa.list_(pa.string())) if _is_list(values.type) else _split(column, values.cast(pa.string()))
        )
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UserError(f"encoder.items.columns: {name!r} is {values.type}, which is no text and no list") from error
    return lists if name == column else pc.list_slice(lists, *_bounds(name))


def numbers_of(table: pa.Table, name: str) -> NDArray[np.float64]:
    """The numbers of a column, NaN where one is not known, `[V]`.

    Raises:
        UserError: there is no such column, or it holds other than numbers.
    """
    values = table.column(column_of(name, table.column_names)).combine_chunks()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise UserError(
            f"encoder.items.numbers: {name!r} is {values.type}, not numbers: name it in encoder.items.columns"
        )
    return values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)


def quantile_edges(values_V: NDArray[np.float64], num_buckets: int) -> NDArray[np.float64]:
    """Where known numbers are parted into at most so many buckets of about equal size, rising, `[E]`.

    An edge is the first number of its bucket; where there are few distinct numbers each has a bucket.
    """
    known_N = values_V[~np.isnan(values_V)]
    distinct = np.unique(known_N)
    if len(distinct) <= num_buckets:
        return distinct[1:]
    inner = np.arange(1, num_buckets) / num_buckets
    edges = np.unique(np.quantile(known_N, inner, method="higher"))
    edges = edges[edges > distinct[0]]
    return edges if len(edges) else distinct[1:2]  # where nearly all are the lowest: the others have a bucket together


def bucket_lists(values_V: NDArray[np.float64], num_buckets: int) -> pa.ListArray:
    """The bucket of each number as a list of one, null where the number is not known, `[V]`."""
    buckets_V = np.searchsorted(quantile_edges(values_V, num_buckets), values_V, side="right")
    return _singles(pa.array(buckets_V.astype(str), mask=np.isnan(values_V)))


def words_of(texts: pa.Array) -> pa.ListArray:
    """The words of each text in small letters, without punctuation; null where there are none."""
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(texts), _NO_WORD, " "))
    return pc.split_pattern(pc.if_else(pc.not_equal(plain, ""), plain, None), " ")


def _split(column: str, values: pa.StringArray) -> pa.ListArray:
    """Texts as lists: of the words of `text`, of the entries of `category`, else of themselves."""
    if column == "text":
        return words_of(values)
    named = pc.if_else(pc.equal(values, ""), None, values)
    return pc.split_pattern(named, "|") if column == "category" else _singles(named)


def _singles(values: pa.StringArray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(values.is_valid().to_numpy(zero_copy_only=False))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.drop_null())


def _bounds(name: str) -> tuple[int, int]:
    place = int(name.rpartition(".")[2])
    return place - 1, place


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)
