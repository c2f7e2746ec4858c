"""Many buckets: rows go by groups first, and end in the same buckets in the same order as in one level."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.prepare import divide
from ray_userrep.prepare.divide import MOST_SLICES, buckets_a_slice, divided
from ray_userrep.prepare.partition import partition
from ray_userrep.prepare.stages import Build
from ray_userrep.prepare.staging import read_slices
from ray_userrep.recipe.corpus import MOST_BUCKETS

NUM_BUCKETS = 5000


@pytest.fixture
def parts(tmp_path):
    """A log of three batches, partitioned."""
    reports = [report_of(rows_from(first, 40), tmp_path) for first in (0, 40, 80)]
    slices = np.sum([report["slice_rows"] for report in reports], axis=0).tolist()
    return {"files": [report["file"] for report in reports], "slice_rows": slices}


def rows_from(first, count):
    rows = np.arange(first, first + count)
    return pa.table({"user_id": rows % 17, "row": rows, "timestamp": rows, "reason": pa.nulls(count, pa.string())})


def report_of(table, uri):
    return json.loads(partition(table, str(uri), NUM_BUCKETS, timed=False)["report"][0].as_py())


@pytest.mark.parametrize("rows_together", [1, 20, 2_000_000])
def test_every_row_is_in_its_bucket_in_the_order_of_the_log(parts, tmp_path, monkeypatch, rows_together):
    monkeypatch.setattr(divide, "_ROWS", rows_together)
    found = {}
    for part in divided(Build(str(tmp_path), "."), parts, NUM_BUCKETS):
        for place, count in enumerate(part.bucket_rows):
            rows = [row for table in read_slices(part.files, place) for row in table["row"].to_pylist()]
            assert len(rows) == count
            if rows:
                found[part.first + place] = rows
    bucket_N = bucket_of(hash_ids(pa.array(np.arange(120) % 17)), NUM_BUCKETS)
    assert found == {bucket: np.flatnonzero(bucket_N == bucket).tolist() for bucket in set(bucket_N.tolist())}


@given(st.integers(1, MOST_BUCKETS))
def test_neither_level_cuts_into_too_many(num_buckets):
    size = buckets_a_slice(num_buckets)
    assert size <= MOST_SLICES and -(-num_buckets // size) <= MOST_SLICES
    assert size == 1 or num_buckets > MOST_SLICES
