"""Mutual information beside scikit-learn's, and what is left of it where nothing, or something, was planted."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from ray_userrep.corpus.correlation import correlation, correlations, mutual_information, values_of

RNG = np.random.default_rng(0)
NUM_ITEMS = 1500


def column(codes):
    return pa.array([[f"v{code}"] for code in codes], pa.list_(pa.string()))


@pytest.mark.parametrize(("few", "many"), [(2, 3), (5, 40), (12, 700)])
def test_single_values_have_the_information_of_scikit_learn(few, many):
    a = RNG.integers(0, few, NUM_ITEMS)
    b = np.where(RNG.random(NUM_ITEMS) < 0.3, a, RNG.integers(0, many, NUM_ITEMS))
    found = values_of(column(a)), values_of(column(b))
    assert mutual_information(*found) == pytest.approx(mutual_info_score(a, b), rel=1e-9)
    expected = adjusted_mutual_info_score(a, b, average_method="min")
    assert correlation(*found) == pytest.approx(max(0, expected), abs=0.02)


def test_many_values_of_few_items_tell_nothing_by_themselves():
    a, b = RNG.integers(0, 400, NUM_ITEMS), RNG.integers(0, 400, NUM_ITEMS)
    assert mutual_info_score(a, b) > 1, "what chance makes of so many values"
    assert correlation(values_of(column(a)), values_of(column(b))) < 0.03


def test_the_planted_pairs_are_those_that_are_most_correlated():
    base = {name: RNG.integers(0, size, NUM_ITEMS) for name, size in (("a", 6), ("b", 50), ("c", 300))}
    noisy = {f"{name}'": np.where(RNG.random(NUM_ITEMS) < 0.2, RNG.permutation(v), v % 20) for name, v in base.items()}
    found = correlations({name: column(codes) for name, codes in (base | noisy).items()})
    np.testing.assert_array_equal(found, found.T)
    np.fill_diagonal(found, 0)
    assert found.argmax(1).tolist() == [3, 4, 5, 0, 1, 2]
    assert found.max(1).min() > 0.4 and np.sort(found, 1)[:, -2].max() < 0.05


def test_lists_share_an_item_s_weight_over_their_pairs():
    """As if every pair of values were an item, each repeated so that all items weigh alike."""
    lists = pa.array([["x", "y"], ["x"], ["z", "x", "y"], ["y"], [], None], pa.list_(pa.string()))
    other = pa.array([["1"], ["2", "1"], ["1"], ["2"], ["1"], ["2"]], pa.list_(pa.string()))
    pairs = [(x, y) for a, b in zip(lists.to_pylist()[:4], other.to_pylist()[:4], strict=True)
             for _ in range(6 // (len(a) * len(b))) for x in a for y in b]  # fmt: skip
    known = np.arange(4)
    found = mutual_information(values_of(lists).take(known), values_of(other).take(known))
    assert found == pytest.approx(mutual_info_score(*zip(*pairs, strict=True)), rel=1e-9)


def test_nothing_known_is_nothing_told():
    nothing, constant = pa.array([None] * 9, pa.list_(pa.string())), column([1] * 9)
    assert correlation(values_of(nothing), values_of(column(range(9)))) == 0
    assert correlation(values_of(constant), values_of(column(range(9)))) == 0
