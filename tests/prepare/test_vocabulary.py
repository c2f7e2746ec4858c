"""Numbering items against a Counter."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep import storage
from ray_userrep.prepare import staging, vocabulary
from ray_userrep.prepare.staging import write_rows
from ray_userrep.prepare.vocabulary import Counted, count_range, cuts, join_item_columns, number_items, write_items

INTS = st.integers(-(2**60), 2**60) | st.integers(2**53, 2**53 + 3)


def counted(uri, part):
    """A bucket's counts as the sort stage leaves them."""
    ids = sorted(part)
    write_rows(uri, pa.table({"item_id": ids, "count": [part[item] for item in ids]}))
    return Counted(uri, len(ids), ids[:: staging.SLICE_ROWS])


@pytest.mark.parametrize("ids", [INTS, st.text(max_size=3)])
def test_counts_of_many_buckets_add_up_and_order_the_items(ids, tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "SLICE_ROWS", 2)
    monkeypatch.setattr(vocabulary, "SLICE_ROWS", 2)
    monkeypatch.setattr(vocabulary, "_RANGE_SLICES", 2)
    monkeypatch.setattr(vocabulary, "_ROW_GROUP", 3)
    most = []

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.dictionaries(ids, st.integers(0, 4), min_size=1, max_size=9), min_size=1, max_size=5))
    def check(parts):
        parts[0][next(iter(parts[0]))] = 1
        expected = sum((Counter(part) for part in parts), Counter())
        ordered = sorted(+expected, key=lambda item: (-expected[item], item))
        buckets = [counted(str(tmp_path / f"bucket {number}"), part) for number, part in enumerate(parts)]
        bounds = [None, *cuts(buckets), None]
        most.append(len(bounds) - 1)
        found = [count_range(n, low, high, buckets, str(tmp_path)) for n, (low, high) in enumerate(pairwise(bounds))]
        numbered = number_items(found)
        write_items(numbered, None, str(tmp_path / "items.parquet"))
        table = storage.read_parquet(str(tmp_path / "items.parquet"))
        assert table.to_pydict() == {"item_id": ordered, "count": [expected[item] for item in ordered]}
        for place, part in enumerate(parts):
            kept = np.array([expected[item] > 0 for item in sorted(part)])
            indices = numbered.indices(place)[kept].tolist()
            assert [ordered[index] for index in indices] == [item for item in sorted(part) if expected[item]]

    check()
    assert max(most) > 2


def test_the_ids_alone_decide_the_digest(tmp_path):
    digests = set()
    for cut in (1, 2):
        parts = [{1: 5, 2: 4}, {2: 1, 3: 1}][:cut] if cut == 2 else [{1: 5, 2: 5, 3: 1}]
        buckets = [counted(str(tmp_path / f"{cut} {number}"), part) for number, part in enumerate(parts)]
        numbered = number_items([count_range(0, None, None, buckets, str(tmp_path))])
        digests.add(write_items(numbered, None, str(tmp_path / "items.parquet"))["content"])
    assert len(digests) == 1


def test_columns_of_any_type_stand_beside_their_items():
    items = pa.table({"item_id": ["b", "a", "c"], "count": [3, 2, 1]})
    described = pa.table({"tags": [["x"], ["y", "z"], []], "count": [7, 8, 9], "item_id": ["c", "b", "never sold"]})
    assert join_item_columns(items, described).to_pydict() == {
        "item_id": ["b", "a", "c"],
        "count": [3, 2, 1],
        "tags": [["y", "z"], None, ["x"]],
    }
