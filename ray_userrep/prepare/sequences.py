"""The reduce side of preparing: one bucket's rows, sorted, become one row a user.

A bucket is sorted whole in one task's memory; the number of buckets is what bounds it. Items are codes of the bucket's
own first, in the order of their ids, and get their indices once the vocabulary of all buckets is numbered: no task
holds more ids than its bucket does.

Shapes: N interactions of the bucket, U users, C distinct items of the bucket.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.summary import frequencies
from ray_userrep.prepare.staging import SLICE_ROWS, read_slices, write_rows, write_slices
from ray_userrep.prepare.vocabulary import Vocabulary

USER_HASH = "user_hash"
_KEYS = ("user_id", "item_id", "timestamp", "row")


def sort_bucket(bucket: int, files: list[str], place: int, build_uri: str, cap: int | None) -> dict[str, Any]:
    """Group a bucket's rows, the slice of this place of each file, into sequences of its own item codes, and count its
    items; returns what was staged.
    """
    rows = pa.concat_tables(read_slices(files, place))
    items = rows["item_id"].combine_chunks().dictionary_encode()
    ids = items.dictionary.take(pc.sort_indices(items.dictionary))
    column = rows.column_names.index("item_id")
    sequences = group(rows.set_column(column, "item_id", items), ids, cap)
    codes_N = sequences["items"].combine_chunks().values.to_numpy()
    counts_C = np.bincount(codes_N, minlength=len(ids))
    staged = {kind: storage.join(build_uri, "staging", kind, f"{bucket:05d}") for kind in ("sequences", "items")}
    write_slices(staged["sequences"], sequences, [0, sequences.num_rows])
    write_rows(staged["items"], pa.table({"item_id": ids, "count": counts_C}))
    return {
        "bucket": bucket,
        **staged,
        "num_distinct": len(ids),
        "samples": ids.take(pa.array(range(0, len(ids), SLICE_ROWS), pa.int64())).to_pylist(),
        "num_interactions": len(codes_N),
        "num_capped": rows.num_rows - len(codes_N),
    }


def write_bucket(bucket: int, place: int, staged: str, build_uri: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """Write a bucket's sequences with item indices for codes; `place` is its own among the counted ones."""
    path = f"sequences/bucket={bucket:05d}/part-0.parquet"
    (sequences,) = read_slices([staged], 0)
    codes = sequences["items"].combine_chunks()
    items = pa.array(vocabulary.indices(place)[codes.values.to_numpy()])
    lists = pa.ListArray.from_arrays(codes.offsets, items)
    sequences = sequences.set_column(sequences.column_names.index("items"), "items", lists)
    checks = write_sequences(build_uri, path, sequences, _repetitive(sequences.schema))
    return {"bucket": bucket, "path": path, **checks, **sequence_counts(sequences)}


def group(rows: pa.Table, ids: pa.Array, cap: int | None = None) -> pa.Table:
    """One row a user, by rising user id: its interactions in order as aligned lists, the newest `cap` of them.

    `ids` are all items, by index.
    """
    users = rows["user_id"].combine_chunks().dictionary_encode()
    by_id_U = pc.sort_indices(users.dictionary)
    rank_U = np.empty(len(by_id_U), np.int64)
    rank_U[by_id_U.to_numpy()] = np.arange(len(by_id_U))
    rank_N = rank_U[users.indices.to_numpy()]
    order_N = _time_order(rank_N, rows["timestamp"].cast(pa.int64()).to_numpy(), rows["row"].to_numpy())
    lengths_U = np.bincount(rank_N)
    if cap is not None:
        kept_U = np.minimum(lengths_U, cap)
        order_N = order_N[ranges(np.cumsum(lengths_U) - kept_U, kept_U)]
        lengths_U = kept_U
    offsets, order = pa.array(np.append(0, np.cumsum(lengths_U)).astype(np.int32)), pa.array(order_N)
    lists = {"items": _indices(rows["item_id"], ids), "timestamps": rows["timestamp"].cast(pa.int64())}
    lists |= {name: rows[name] for name in rows.column_names if name not in _KEYS}
    columns = {name: pa.ListArray.from_arrays(offsets, _whole(values.take(order))) for name, values in lists.items()}
    distinct = users.dictionary.take(by_id_U)
    return pa.table({"user_id": distinct, USER_HASH: hash_ids(distinct)} | columns)


def _indices(items: pa.ChunkedArray, ids: pa.Array) -> pa.Array:
    encoded = _whole(items).dictionary_encode()
    index = pc.index_in(encoded.dictionary, value_set=ids).cast(pa.int64())
    assert index.null_count == 0, "the vocabulary holds every item"
    return index.take(encoded.indices)


def _whole(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _time_order(rank_N: NDArray[np.int64], times_N: NDArray[np.int64], rows_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """What sorts by (rank, time, row)."""
    if np.any(rows_N[1:] < rows_N[:-1]):  # files mostly come in order
        first_N = np.argsort(rows_N)
        return first_N[_time_order(rank_N[first_N], times_N[first_N], rows_N[first_N])]
    low, high = int(times_N.min()), int(times_N.max())
    bits = (high - low).bit_length()
    if bits + int(rank_N.max()).bit_length() > 62:
        return np.lexsort((times_N, rank_N))
    # One key of both, as numpy sorts whole numbers several times faster than it merges keys; it is not stable.
    key_N = rank_N << bits | (times_N - low)
    order_N = np.argsort(key_N)
    return _by_place_where_equal(order_N, key_N[order_N])


def _by_place_where_equal(order_N: NDArray[np.int64], sorted_N: NDArray[np.int64]) -> NDArray[np.int64]:
    starts_N = np.append(True, sorted_N[1:] != sorted_N[:-1])
    tied_N = ~starts_N
    tied_N[:-1] |= tied_N[1:]
    group_N = np.cumsum(starts_N)[tied_N]
    order_N[tied_N] = np.sort(group_N * len(order_N) + order_N[tied_N]) % len(order_N)
    return order_N


def _repetitive(schema: pa.Schema) -> list[str] | bool:
    """Columns of few values, worth a dictionary: text beside the interactions."""
    return [f"{field.name}.list.element" for field in schema if field.type == pa.list_(pa.string())] or False


def sequence_counts(sequences: pa.Table) -> dict[str, Any]:
    """Counts of sequences and a digest of what they hold."""
    items, times = (sequences[name].combine_chunks() for name in ("items", "timestamps"))
    offsets_U1, items_N, times_N = (values.to_numpy() for values in (items.offsets, items.values, times.values))
    tied_N = _tied(times_N, offsets_U1)
    return {
        "num_users": sequences.num_rows,
        "num_interactions": len(items_N),
        "num_ties": int(tied_N.sum()),
        "num_duplicates": _duplicates(items_N, tied_N),
        "users_per_length": frequencies(np.diff(offsets_U1)),
        "domains": _domains(sequences),
        "side_columns": sequences.column_names[4:],
        "content": _content(sequences[USER_HASH].to_numpy(), offsets_U1.astype(np.int64), items_N, times_N),
    }


def summed_lengths(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Counts of several parts by rising number, without those that come to nothing."""
    total = Counter[int]()
    for part in counts:
        total.update({int(number): count for number, count in part.items()})  # numbers are texts where JSON was between
    return {number: count for number, count in sorted(total.items()) if count}


def _domains(sequences: pa.Table) -> dict[str, int]:
    """Interactions of each domain, the empty name for none."""
    if "domain" not in sequences.column_names:
        return {}
    counts = pc.value_counts(sequences["domain"].combine_chunks().values.fill_null(""))
    return {entry["values"]: entry["counts"] for entry in counts.to_pylist()}


def _tied(times_N: NDArray[np.int64], offsets_U1: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where an interaction has the time of the same user's one before."""
    tied_N = np.zeros(len(times_N), bool)
    tied_N[1:] = times_N[1:] == times_N[:-1]
    tied_N[offsets_U1[:-1]] = False
    return tied_N


def _duplicates(items_N: NDArray[np.int64], tied_N: NDArray[np.bool_]) -> int:
    """How many interactions have the item of an earlier one that they tie with."""
    among_N = tied_N.copy()
    among_N[:-1] |= tied_N[1:]
    if not among_N.any():
        return 0
    run_N, items_N = np.cumsum(~tied_N)[among_N], items_N[among_N]
    key_N = np.sort(run_N * (int(items_N.max()) + 1) + items_N)
    return int((key_N[1:] == key_N[:-1]).sum())


def _content(*columns: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
