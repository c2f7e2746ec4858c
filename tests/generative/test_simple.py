"""Counting on and means of ratings, against loops; what each numbering gives away."""

import numpy as np
import pyarrow as pa

from ray_userrep.corpus.splits import resolve
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.generative.lexicon import first_seen, shuffled
from ray_userrep.generative.simple import commonest_text, counting_ranks, item_means, trained_ratings
from tests.generative.conftest import small_text
from tests.generative.test_subjects import by_hand


def test_counting_on_finds_the_number_after_the_highest(reviews):
    histories = read_histories(reviews, resolve(small_text().split, reviews), "test", None)
    for number_V in (first_seen(reviews), shuffled(60, 3)):
        assert sorted(number_V) == list(range(1, 61))
        found = counting_ranks(histories, number_V)
        for user, rank in enumerate(found):
            seen = histories.items_N[histories.offsets_U1[user] : histories.offsets_U1[user + 1]]
            assert (rank == 1) == (number_V[histories.targets_U[user]] == number_V[seen].max() + 1)


def test_first_seen_numbers_follow_the_corpus(reviews):
    order = list(dict.fromkeys(item for _, items in by_hand(reviews) for item in items))
    assert first_seen(reviews)[order].tolist() == list(range(1, 61))


def test_means_are_of_what_is_trained_on(reviews):
    items_N, ratings_N = trained_ratings(reviews, resolve(small_text().split, reviews))
    np.testing.assert_allclose(item_means(items_N, ratings_N, 60), 1.0 + np.arange(60) % 5)
    np.testing.assert_allclose(item_means(items_N[:1], ratings_N[:1], 60), ratings_N[0])  # the others have none


def test_the_commonest_text_is_that_of_all_parts():
    assert commonest_text([pa.array(["b", "a"]), pa.array(["a", "c"]), pa.array([], pa.string())]) == "a"
    assert commonest_text([pa.array(["b", "a"])]) == "a" and commonest_text([]) == ""
