"""Partitioning: every row ends in exactly one file, that of its user's bucket or the quarantine."""

import json

import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus.hashing import bucket_of, hash_ids
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare.partition import partition
from ray_userrep.prepare.staging import read_slices

DAY = 86_400_000_000


def batch(reasons):
    count = len(reasons)
    return pa.table(
        {
            "user_id": pa.array([f"user {row % 5}" for row in range(count)]),
            "item_id": pa.array([row % 3 for row in range(count)]),
            "timestamp": pa.array([row * DAY // 4 for row in range(count)], TIMESTAMP),
            "row": pa.array(range(count), pa.int64()),
            "price": pa.array([row / 2 for row in range(count)]),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def report_of(table, uri, num_buckets=4):
    (report,) = partition(table, str(uri), num_buckets)["report"].to_pylist()
    return json.loads(report)


def test_good_rows_go_whole_into_the_slice_of_their_bucket(tmp_path):
    rows = batch([None] * 20)
    report = report_of(rows, tmp_path)
    found = []
    for bucket, count in enumerate(report["bucket_rows"]):
        for part in read_slices([report["file"]], bucket):
            assert set(bucket_of(hash_ids(part["user_id"]), 4)) == {bucket}
            assert part.num_rows == count
            found += part.to_pylist()
    assert sorted(found, key=lambda row: row["row"]) == rows.drop_columns(["reason"]).to_pylist()
    assert report["rows"] == sum(report["bucket_rows"]) == 20
    assert report["quarantine"] is None and report["reasons"] == {}


def test_days_are_counted_without_rejected_rows(tmp_path):
    report = report_of(batch([None, None, None, None, "missing_user", None]), tmp_path)
    assert report["days"] == {"1970-01-01": 4, "1970-01-02": 1}


def test_rejected_rows_are_kept_as_they_are_with_their_reasons(tmp_path):
    rows = batch([None, "missing_user", "bad_timestamp", "missing_user"])
    report = report_of(rows, tmp_path)
    assert storage.read_parquet(report["quarantine"]).to_pylist() == rows.slice(1).to_pylist()
    assert report["reasons"] == {"missing_user": 2, "bad_timestamp": 1}
    assert report["rows"] == 1


def test_a_batch_of_rejected_rows_writes_nothing_else(tmp_path):
    report = report_of(batch(["missing_item"] * 3), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / report["quarantine"]]
    assert report["file"] is None
