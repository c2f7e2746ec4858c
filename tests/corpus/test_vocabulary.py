"""Numbering items against a Counter."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_userrep import storage
from ray_userrep.corpus import vocabulary
from ray_userrep.corpus.vocabulary import describe, merge_counts


@pytest.mark.parametrize("ids", [st.integers(0, 2**60), st.text(max_size=3)])
def test_counts_of_many_files_add_up_and_order_the_items(ids, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "_FILES_AT_ONCE", 2)

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.dictionaries(ids, st.integers(1, 9), min_size=1), min_size=1, max_size=6))
    def check(parts):
        files = [str(tmp_path / f"{number}.parquet") for number in range(len(parts))]
        for file, part in zip(files, parts, strict=True):
            storage.write_parquet(file, pa.table({"item_id": list(part), "count": list(part.values())}))
        expected = sum((Counter(part) for part in parts), Counter())
        ordered = sorted(expected.items(), key=lambda entry: (-entry[1], entry[0]))
        table = merge_counts(files)
        assert list(zip(table["item_id"].to_pylist(), table["count"].to_pylist(), strict=True)) == ordered

    check()


def test_columns_of_any_type_stand_beside_their_items():
    items = pa.table({"item_id": ["b", "a", "c"], "count": [3, 2, 1]})
    described = pa.table({"tags": [["x"], ["y", "z"], []], "count": [7, 8, 9], "item_id": ["c", "b", "never sold"]})
    assert describe(items, described).to_pydict() == {
        "item_id": ["b", "a", "c"],
        "count": [3, 2, 1],
        "tags": [["y", "z"], None, ["x"]],
    }
