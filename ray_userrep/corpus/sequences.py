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
    table = pa.concat_tables([storage.read_parquet(part) for part in parts]).combine_chunks()
    table = table.sort_by([(key, "ascending") for key in ("user_id", "timestamp", "row")]).combine_chunks()
    items_N = pc.index_in(table["item_id"], value_set=ray.get(ids)).to_numpy().astype(np.int64)
    times_N = table["timestamp"].cast(pa.int64()).to_numpy()
    starts_U, offsets_U1 = _bounds(table["user_id"])
    side = {name: table[name].combine_chunks() for name in table.column_names if name not in _KEYS}
    lists = {"items": pa.array(items_N), "timestamps": pa.array(times_N), **side}
    sequences = pa.table(
        {
            "user_id": table["user_id"].take(starts_U),
            USER_HASH: table[USER_HASH].take(starts_U),
            "length": pa.array(np.diff(offsets_U1).astype(np.int32)),
            **{name: pa.ListArray.from_arrays(pa.array(offsets_U1, pa.int32()), values) for name, values in lists.items()},
        }
    )
    path = f"sequences/bucket={bucket:05d}/part-0.parquet"
    storage.write_parquet(storage.join(build_uri, path), sequences)
    tied_N = _tied(times_N, offsets_U1)
    report = {
        "bucket": bucket,
        "path": path,
        "num_users": len(sequences),
        "num_interactions": len(items_N),
        "num_ties": int(tied_N.sum()),
        "num_duplicates": int((tied_N & (np.diff(items_N, prepend=-1) == 0)).sum()),
        "longest": int(np.diff(offsets_U1).max()),
        "side_columns": list(side),
        "content": _content(sequences[USER_HASH].to_numpy(), offsets_U1, items_N, times_N),
    }
    return pa.table({"report": [json.dumps(report)]})


def _bounds(users: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row of each user of a sorted column, and the offsets."""
    codes_N = users.combine_chunks().dictionary_encode().indices.to_numpy()
    starts_U = np.flatnonzero(np.diff(codes_N, prepend=-1))
    return starts_U, np.append(starts_U, len(codes_N))


def _tied(times_N: NDArray[np.int64], offsets_U1: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where an interaction has the time of the same user's one before."""
    tied_N = np.zeros(len(times_N), bool)
    tied_N[1:] = times_N[1:] == times_N[:-1]
    tied_N[offsets_U1[:-1]] = False
    return tied_N


def _content(*columns: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column))
    return digest.hexdigest()
