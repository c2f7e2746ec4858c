"""The map side of preparing: each batch of canonical rows goes straight into one file, a slice for each hash bucket.

One pass without a shuffle, which is the slow path of grouping by user. A task that is tried again writes a new file,
and only those that a finished task names are ever read.
"""

import json
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.corpus.hashing import bucket_of, hash_ids
from ray_userrep.prepare.memory import PEAK, peak_bytes, watch_peak
from ray_userrep.prepare.quarantine import split_rejected
from ray_userrep.prepare.staging import write_slices


def partition(batch: pa.Table, build_uri: str, num_buckets: int) -> pa.Table:
    """Write a batch's good rows by bucket and its rejected rows; returns one row that describes it."""
    watch_peak()
    name = uuid.uuid4().hex
    good, rejected = split_rejected(batch)
    report: dict[str, Any] = {"rows": good.num_rows, "file": None, "quarantine": None, "days": {}}
    report["reasons"] = _counts(rejected["reason"])
    if rejected.num_rows:
        report["quarantine"] = storage.join(build_uri, "quarantine", f"{name}.parquet")
        storage.write_parquet(report["quarantine"], rejected)
    if good.num_rows:
        report["file"] = storage.join(build_uri, "staging", "rows", name)
        report["first_row"] = pc.min(good["row"]).as_py()
        report["bucket_rows"] = _write_buckets(good, report["file"], num_buckets)
        report["days"] = _days(good["timestamp"])
    return pa.table({"report": [json.dumps(report | {PEAK: peak_bytes()})]})


def _write_buckets(good: pa.Table, uri: str, num_buckets: int) -> list[int]:
    """Write the rows by bucket, in their order inside each; how many each bucket got."""
    bucket_N = bucket_of(hash_ids(good["user_id"]), num_buckets)
    small_N = bucket_N.astype(np.uint16 if num_buckets <= 2**16 else np.int64)  # numpy sorts 16 bits by radix
    sizes = np.bincount(bucket_N, minlength=num_buckets)
    by_bucket = good.take(pa.array(np.argsort(small_N, kind="stable")))
    write_slices(uri, by_bucket, np.append(0, np.cumsum(sizes)))
    found: list[int] = sizes.tolist()
    return found


def _days(timestamps: pa.ChunkedArray) -> dict[str, int]:
    return {str(day): count for day, count in _counts(timestamps.cast(pa.date32())).items()}


def _counts(values: pa.ChunkedArray) -> dict[Any, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(values).to_pylist()}
