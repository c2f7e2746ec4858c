"""The map side of preparing: each batch of canonical rows goes straight into a file for each hash bucket.

Writing many small files costs requests; it saves the shuffle, which is the slow path of grouping by user. A task that
is tried again writes new files, and only those that a finished task names are ever read.
"""

import json
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.hashing import bucket_of, hash_ids
from ray_userrep.corpus.quarantine import split

USER_HASH = "user_hash"


def partition(batch: pa.Table, build_uri: str, num_buckets: int) -> pa.Table:
    """Write a batch's good rows by bucket, its item counts and its rejected rows; returns one row that describes it."""
    name = f"{uuid.uuid4().hex}.parquet"
    good, rejected = split(batch)
    report: dict[str, Any] = {"rows": good.num_rows, "buckets": {}, "items": None, "quarantine": None, "days": {}}
    report["reasons"] = _counts(rejected["reason"])
    if rejected.num_rows:
        report["quarantine"] = storage.join(build_uri, "quarantine", name)
        storage.write_parquet(report["quarantine"], rejected)
    if good.num_rows:
        report["buckets"] = _write_buckets(good, storage.join(build_uri, "staging"), name, num_buckets)
        report["items"] = storage.join(build_uri, "staging", "items", name)
        counts = good.group_by("item_id").aggregate([("row", "count")]).rename_columns(["item_id", "count"])
        storage.write_parquet(report["items"], counts)
        report["days"] = _counts(good["timestamp"].cast(pa.date32()).cast(pa.string()))
    return pa.table({"report": [json.dumps(report)]})


def _write_buckets(good: pa.Table, staging_uri: str, name: str, num_buckets: int) -> dict[int, str]:
    hashes = hash_ids(good["user_id"])
    bucket = bucket_of(hashes, num_buckets)
    order = np.argsort(bucket, kind="stable")
    by_bucket = good.append_column(USER_HASH, pa.array(hashes)).take(pa.array(order))
    bounds = np.searchsorted(bucket[order], np.arange(num_buckets + 1))
    written = {}
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        written[number] = storage.join(staging_uri, f"bucket={number:05d}", name)
        storage.write_parquet(written[number], by_bucket.slice(bounds[number], bounds[number + 1] - bounds[number]))
    return written


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(values).to_pylist()}
