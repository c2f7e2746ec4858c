"""Sequences of different lengths laid end to end, without padding, and several files of a bucket merged into one.

Files are sorted by themselves, and a day is mostly later than the days before: laying the pieces of a user end to end
mostly is the order already, and only where it is not are the bucket's interactions sorted.

Shapes: R rows of all files, U users of all files together, N their interactions.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.logs.canonical import OPTIONAL


def ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """`start, start + 1, …` for each pair, end to end."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


KEYS = ("user_id", "user_hash", "items", "timestamps")


def merge_sequences(tables: Sequence[pa.Table]) -> pa.Table:
    """One row a user, by rising user id, from tables of the same columns that each hold a user once."""
    if len(tables) == 1:
        return tables[0]
    rows = pa.concat_tables(tables).combine_chunks()
    ids, rank_R = ranked(rows["user_id"].combine_chunks())
    lengths_R = rows["items"].combine_chunks().value_lengths().to_numpy().astype(np.int64)
    order = pa.array(_order(rank_R, lengths_R, _values(rows, "timestamps").to_numpy()))
    lengths_U = np.bincount(rank_R, lengths_R).astype(np.int64)
    offsets = pa.array(np.append(0, np.cumsum(lengths_U)), pa.int32())
    hash_U = np.empty(len(ids), np.int64)
    hash_U[rank_R] = rows["user_hash"].to_numpy()
    names = [name for name in rows.column_names if name not in ("user_id", "user_hash")]
    lists = {name: pa.ListArray.from_arrays(offsets, _values(rows, name).take(order)) for name in names}
    return pa.table({"user_id": ids, "user_hash": hash_U} | lists)


def completed(table: pa.Table, side: Sequence[str]) -> pa.Table:
    """A table with all these side columns: null where its file was written before the log had one."""
    items = table["items"].combine_chunks()
    for name in side:
        if name not in table.column_names:
            unknown = pa.nulls(len(items.flatten()), OPTIONAL[name])
            lengths = items.value_lengths().to_numpy()
            offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
            table = table.append_column(name, pa.ListArray.from_arrays(offsets, unknown))
    return table.select([*KEYS, *side])


def ranked(users: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Distinct ids in their order, and the place of each row's among them."""
    encoded = users.dictionary_encode()
    by_id = pc.sort_indices(encoded.dictionary)
    rank_U = np.empty(len(by_id), np.int64)
    rank_U[by_id.to_numpy()] = np.arange(len(by_id))
    return encoded.dictionary.take(by_id), rank_U[encoded.indices.to_numpy()]


def _values(rows: pa.Table, name: str) -> pa.Array:
    return rows[name].combine_chunks().flatten()


def _order(rank_R: NDArray[np.int64], lengths_R: NDArray[np.int64], times_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """What sorts interactions by (user, time), the earlier file first."""
    by_user_R = np.argsort(rank_R, kind="stable")
    starts_R = np.cumsum(lengths_R) - lengths_R
    order_N = ranges(starts_R[by_user_R], lengths_R[by_user_R])
    user_N = np.repeat(rank_R[by_user_R], lengths_R[by_user_R])
    sorted_N = times_N[order_N]
    if np.any((sorted_N[1:] < sorted_N[:-1]) & (user_N[1:] == user_N[:-1])):
        order_N = order_N[np.lexsort((sorted_N, user_N))]
    return order_N
