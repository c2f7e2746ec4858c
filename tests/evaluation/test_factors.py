"""Biased factorisation: biases against a loop, factors that find what was planted and nothing in noise."""

import numpy as np
import pytest

from ray_userrep.evaluation.factors import Ratings, biases, factorise

NUM_USERS, NUM_ITEMS = 80, 60


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def drawn(rng, share, values_UV):
    """A share of all pairs, each once."""
    users_R, items_R = np.nonzero(rng.random((NUM_USERS, NUM_ITEMS)) < share)
    return Ratings(users_R, items_R, values_UV[users_R, items_R], NUM_USERS, NUM_ITEMS)


def test_biases_are_shrunken_means_of_what_is_left(rng):
    ratings = drawn(rng, 0.1, rng.integers(1, 6, (NUM_USERS, NUM_ITEMS)).astype(float))
    found = biases(ratings, 5.0, 2.0)
    mean = ratings.values_R.mean()
    for item in range(NUM_ITEMS):
        off = [v - mean for i, v in zip(ratings.items_R, ratings.values_R, strict=True) if i == item]
        assert found.item_V[item] == pytest.approx(sum(off) / (len(off) + 5))
    rows = list(zip(ratings.users_R, ratings.items_R, ratings.values_R, strict=True))
    for user in range(NUM_USERS):
        off = [v - mean - found.item_V[i] for u, i, v in rows if u == user]
        assert found.user_U[user] == pytest.approx(sum(off) / (len(off) + 2))
    assert found.left(ratings) == pytest.approx([v - mean - found.user_U[u] - found.item_V[i] for u, i, v in rows])


def test_factors_predict_pairs_that_were_never_seen(rng):
    taste_UV = 2 * rng.normal(size=(NUM_USERS, 2)) @ rng.normal(size=(2, NUM_ITEMS))
    values_UV = 3 + rng.normal(size=NUM_ITEMS) + rng.normal(size=(NUM_USERS, 1)) + taste_UV
    known, unseen = drawn(rng, 0.5, values_UV), drawn(rng, 0.2, values_UV)
    plain = biases(known, 5.0, 5.0)
    found = factorise(known, plain, 4, 0)
    told_R = (found.users_UD[unseen.users_R] * found.items_VD[unseen.items_R]).sum(1)
    left_R = plain.left(unseen)
    assert ((left_R - told_R) ** 2).mean() < 0.1 * (left_R**2).mean()
    again = factorise(known, plain, 4, 0)
    assert (again.users_UD == found.users_UD).all() and (again.items_VD == found.items_VD).all()


def test_where_there_is_only_noise_factors_say_next_to_nothing(rng):
    ratings = drawn(rng, 0.2, rng.normal(3, 0.5, (NUM_USERS, NUM_ITEMS)))
    found = factorise(ratings, biases(ratings, 5.0, 5.0), 4, 0)
    assert abs(found.users_UD @ found.items_VD.T).mean() < 0.05


def test_users_and_items_without_ratings_deviate_from_nothing(rng):
    ratings = drawn(rng, 0.3, rng.normal(3, 1, (NUM_USERS, NUM_ITEMS)))
    fewer = ratings.take((ratings.users_R > 0) & (ratings.items_R > 0))
    plain = biases(fewer, 5.0, 5.0)
    found = factorise(fewer, plain, 4, 0)
    assert plain.user_U[0] == plain.item_V[0] == 0
    assert not found.users_UD[0].any() and not found.items_VD[0].any() and found.users_UD[1:].any(1).all()
