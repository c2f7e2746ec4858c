"""Attributes of the users who are in the corpus, in the order in which the log has them.

One task goes through the buckets, holding one bucket's ids at a time beside the log's own table of users.

Shapes: U users of the log's table.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.hashing import bucket_of, hash_ids


def write_users(users: pa.Table, files: dict[int, str], num_buckets: int, uri: str) -> dict[str, Any]:
    """Write the rows of users who have sequences; `files` are the sequences by bucket."""
    ids = users["user_id"].cast(_id_type(files)).combine_chunks()
    bucket_U = bucket_of(hash_ids(ids), num_buckets)
    by_bucket = np.argsort(bucket_U, kind="stable")
    bounds = np.searchsorted(bucket_U[by_bucket], np.arange(num_buckets + 1))
    present_U = np.zeros(len(ids), bool)
    for bucket, file in files.items():
        rows = by_bucket[bounds[bucket] : bounds[bucket + 1]]
        there = storage.read_parquet(file, ["user_id"])["user_id"].combine_chunks()
        present_U[rows] = pc.is_in(ids.take(pa.array(rows)), value_set=there).to_numpy(zero_copy_only=False)
    storage.write_parquet(uri, users.filter(pa.array(present_U)))
    return {"num_users": int(present_U.sum())}


def _id_type(files: dict[int, str]) -> pa.DataType:
    return storage.read_parquet(next(iter(files.values())), ["user_id"]).schema.field("user_id").type
