"""The graph of users and items against sets of pairs; what is warm; what is held out is no node; other catalogues."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.graph import UserItemGraph, read_graph
from ray_userrep.corpus.splits import NONE, resolve
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import ColdUserConfig, LeaveOneOutConfig
from tests.training.conftest import NUM_ITEMS, write_corpus

PAIRS = st.lists(st.tuples(st.sampled_from([-7, 3, 2**40]), st.integers(0, 5)), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(str(tmp_path_factory.mktemp("graph") / "corpus"))


def pairs_of(graph):
    return set(zip(*(ends.tolist() for ends in graph.edges()), strict=True))


def taken(graph):
    """Pairs as the items tell of them."""
    rows = enumerate(graph.users_of.to_pylist())
    return {(int(graph.users_U[row]), item) for item, users in rows for row in users}


@given(PAIRS)
def test_both_ways_hold_every_pair_once(pairs):
    graph = UserItemGraph.of(*np.array(pairs, np.int64).T, 6)
    assert pairs_of(graph) == taken(graph) == set(pairs)
    assert len(graph.edges()[0]) == len(set(pairs)) and graph.users_U.tolist() == sorted({user for user, _ in pairs})
    assert all(items == sorted(items) for items in [*graph.items_of.to_pylist(), *graph.users_of.to_pylist()])


@given(PAIRS, st.permutations(range(8)))
def test_over_another_catalogue_pairs_are_those_of_the_items_that_are_there(pairs, places):
    """Old items 0 to 5 lie at new places; 6 and 7 stand for items that are new; the last two places are left out."""
    graph, index_V = (
        UserItemGraph.of(*np.array(pairs, np.int64).T, 6),
        np.array([p if p < 6 else -1 for p in places[:6]]),
    )
    new = {int(old): place for place, old in enumerate(index_V) if old >= 0}
    expected = {(user, new[item]) for user, item in pairs if item in new}
    if not expected:
        with pytest.raises(UserError, match="none of the items is in the encoder's graph"):
            graph.over(index_V)
        return
    moved = graph.over(index_V)
    assert pairs_of(moved) == taken(moved) == expected and len(moved.users_of) == 6


@pytest.mark.parametrize("rule", [LeaveOneOutConfig(), ColdUserConfig(valid_share=0.2, test_share=0.3, max_known=3)])
def test_nodes_are_the_warm_users_and_items_of_what_is_trained_on(corpus, rule):
    split, trained = resolve(rule, corpus), {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for row, (user, end) in enumerate(zip(bucket.user_hash_U, split.positions(bucket).train_end_U, strict=True)):
            first = bucket.offsets_U1[row]
            trained[int(user)] = bucket.items_N[first : first + end].tolist()
            is_held_out = isinstance(rule, ColdUserConfig) and split.positions(bucket).test_U[row] != NONE
            assert not (is_held_out and trained[int(user)])
    counts = Counter(item for items in trained.values() for item in items)
    expected = {(u, i) for u, items in trained.items() if len(items) > 12 for i in items if counts[i] > 12}
    graph = read_graph(corpus, split, 12)
    assert pairs_of(graph) == taken(graph) == expected and 0 < len(expected) < sum(counts.values())
    assert graph.users_U.dtype == np.int64 and len(graph.users_of) == NUM_ITEMS


def test_it_is_read_as_it_was_saved_also_over_itself(corpus, tmp_path):
    graph = read_graph(corpus, resolve(LeaveOneOutConfig(), corpus), 5)
    for _ in range(2):
        graph.save(tmp_path)
        again = UserItemGraph.load(tmp_path)
        assert np.array_equal(again.users_U, graph.users_U)
        assert again.items_of.equals(graph.items_of) and again.users_of.equals(graph.users_of)
        graph = again
    (tmp_path / "items.arrow").write_bytes(b"cut")
    with pytest.raises(UserError, match=f"the graph of users and items at {tmp_path} cannot be read"):
        UserItemGraph.load(tmp_path)


def test_a_log_without_warm_users_is_refused_by_name(corpus):
    with pytest.raises(UserError, match=f"encoder.backbone.warm_above 1000: no user of {corpus.uri} has more"):
        read_graph(corpus, resolve(LeaveOneOutConfig(), corpus), 1000)
