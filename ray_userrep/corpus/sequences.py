"""The reduce side of preparing: one bucket's rows, sorted, become one row a user.

A bucket is sorted whole in one task's memory; the number of buckets is what bounds it.

Shapes: N interactions of the bucket, U users.
"""

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.partition import USER_HASH

_KEYS = ("user_id", "item_id", "timestamp", "row", USER_HASH)


def build_bucket(task: pa.Table, build_uri: str, ids: "ray.ObjectRef[pa.Array]") -> pa.Table:
    """Sort a bucket by (user, timestamp, row), group it into sequences, write it; returns one row that describes it."""
    (bucket,), (parts,) = task["bucket"].to_pylist(), task["parts"].to_pylist()
    path = f"sequences/bucket={bucket:05d}/part-0.parquet"
    sequences = group(pa.concat_tables([storage.read_parquet(part) for part in parts]), ray.get(ids))
    storage.write_parquet(storage.join(build_uri, path), sequences)
    return pa.table({"report": [json.dumps({"bucket": bucket, "path": path, **summary(sequences)})]})


def group(rows: pa.Table, ids: pa.Array) -> pa.Table:
    """One row a user, by rising user id: its interactions in order as aligned lists; `ids` are the items by index."""
    rows = rows.sort_by([(key, "ascending") for key in ("user_id", "timestamp", "row")]).combine_chunks()
    starts_U, offsets_U1 = _bounds(rows["user_id"])
    items_N = pc.index_in(rows["item_id"], value_set=ids).cast(pa.int64())
    assert items_N.null_count == 0, "the vocabulary holds every item"
    lists = {"items": items_N, "timestamps": rows["timestamp"].cast(pa.int64())}
    lists |= {name: rows[name] for name in rows.column_names if name not in _KEYS}
    offsets = pa.array(offsets_U1, pa.int32())
    columns = {name: pa.ListArray.from_arrays(offsets, values.combine_chunks()) for name, values in lists.items()}
    return pa.table({name: rows[name].take(starts_U) for name in ("user_id", USER_HASH)} | columns)


def _bounds(users: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of each user of a sorted column, and the offsets."""
    codes_N = users.combine_chunks().dictionary_encode().indices.to_numpy()
    starts_U = np.flatnonzero(np.diff(codes_N, prepend=-1))
    return starts_U, np.append(starts_U, len(codes_N))


def summary(sequences: pa.Table) -> dict[str, Any]:
    """What describes a bucket's sequences: counts, and a digest of their content."""
    items, times = (sequences[name].combine_chunks() for name in ("items", "timestamps"))
    offsets_U1, items_N, times_N = (values.to_numpy() for values in (items.offsets, items.values, times.values))
    tied_N = _tied(times_N, offsets_U1)
    return {
        "num_users": sequences.num_rows,
        "num_interactions": len(items_N),
        "num_ties": int(tied_N.sum()),
        "num_duplicates": int((tied_N & (np.diff(items_N, prepend=-1) == 0)).sum()),
        "longest": int(np.diff(offsets_U1).max()),
        "domains": _domains(sequences),
        "side_columns": sequences.column_names[4:],
        "content": _content(sequences[USER_HASH].to_numpy(), offsets_U1.astype(np.int64), items_N, times_N),
    }


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


def _content(*columns: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
