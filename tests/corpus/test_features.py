"""Columns of the item table as features: entries, words and buckets; what is no feature is refused by name."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ray_userrep.corpus.features import bucket_lists, quantile_edges
from ray_userrep.corpus.items import ItemTable
from ray_userrep.errors import UserError

TABLE = ItemTable(
    pa.table(
        {
            "item_id": [1, 2, 3, 4],
            "count": [4, 3, 2, 1],
            "category": ["Beauty|Hair|Oil", "Beauty", None, "Beauty|Hair"],
            "brand": ["A", "", None, "B"],
            "colours": [["red", "blue"], [], None, ["red"]],
            "year": [1999, 2001, None, 1999],
            "price": [1.5, None, 2.5, np.nan],
            "text": ["Red hair-oil", None, "  ", "OIL"],
            "inside": [{"a": 1}] * 4,
        }
    )
)


def test_a_feature_is_a_list_of_texts_an_item():
    found = TABLE.features(["category", "category.2", "category.3", "brand", "colours", "colours.1", "year", "text"])
    told = {name: [entries or [] for entries in lists.to_pylist()] for name, lists in found.items()}
    assert told == {
        "category": [["Beauty", "Hair", "Oil"], ["Beauty"], [], ["Beauty", "Hair"]],
        "category.2": [["Hair"], [], [], ["Hair"]],
        "category.3": [["Oil"], [], [], []],
        "brand": [["A"], [], [], ["B"]],
        "colours": [["red", "blue"], [], [], ["red"]],
        "colours.1": [["red"], [], [], ["red"]],
        "year": [["1999"], ["2001"], [], ["1999"]],
        "text": [["red", "hair", "oil"], [], [], ["oil"]],
    }


def test_numbers_are_buckets_and_unknown_ones_are_none():
    lists = TABLE.features([], ["price", "year"], buckets=4)
    assert lists["price"].to_pylist() == [["0"], [], ["1"], []]
    assert lists["year"].to_pylist() == [["0"], ["1"], [], ["0"]]
    np.testing.assert_array_equal(TABLE.numbers("price"), [1.5, np.nan, 2.5, np.nan])


@example(values=[0.0, 0.0, 0.0, 1.0, 0.5], num_buckets=2)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), num_buckets=st.integers(2, 9))
def test_buckets_keep_the_order_of_numbers_and_there_are_never_more(values, num_buckets):
    edges = quantile_edges(np.array(values), num_buckets)
    assert len(edges) < num_buckets and (np.diff(edges) > 0).all()
    found = np.array([int(one[0]) for one in bucket_lists(np.array(values), num_buckets).to_pylist()])
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()
    distinct = len(set(values))
    assert len(set(found)) == distinct if distinct <= num_buckets else len(set(found)) > 1


def test_buckets_of_many_numbers_are_about_equally_full():
    values = np.random.default_rng(0).lognormal(size=4000)
    counts = np.unique([one[0] for one in bucket_lists(values, 16).to_pylist()], return_counts=True)[1]
    assert len(counts) == 16 and counts.min() >= 245 and counts.max() <= 255


@pytest.mark.parametrize(
    ("columns", "numbers", "message"),
    [
        (["shop"], [], r"the column 'shop', which the items of this log lack; they have category, brand, .*"),
        (["shop.2"], [], "the column 'shop'"),
        ([], ["cost"], "the column 'cost'"),
        (["inside"], [], r"encoder.items.columns: 'inside' is struct"),
        ([], ["brand"], r"encoder.items.numbers: 'brand' is string, not numbers: name it in encoder.items.columns"),
    ],
)
def test_what_is_no_feature_is_refused_by_name(columns, numbers, message):
    with pytest.raises(UserError, match=message):
        TABLE.features(columns, numbers)
