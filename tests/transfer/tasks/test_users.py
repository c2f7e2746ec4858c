"""Users are dealt out by their hash: never into two parts, whoever else is there, and shares are nested."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.transfer.tasks.users import ChosenUsers, deal, first_share

USERS = np.random.default_rng(0).integers(-(2**62), 2**62, 4000)


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_every_user_is_in_one_part(seed, valid_share, test_share):
    parts = deal(USERS, valid_share, test_share, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(USERS)))
    assert abs(len(parts.valid) / len(USERS) - valid_share) < 0.05
    assert abs(len(parts.test) / len(USERS) - test_share) < 0.05


def test_the_part_of_a_user_does_not_depend_on_the_others():
    whole, some = deal(USERS, 0.2, 0.2, 3), deal(USERS[1000:], 0.2, 0.2, 3)
    for all_rows, rows in zip(whole, some, strict=True):
        assert set(USERS[1000:][rows]) == set(USERS[all_rows]) & set(USERS[1000:])
    kept = [user for user in USERS[whole.train] if user in set(USERS[1000:])]
    assert kept == USERS[1000:][some.train].tolist()  # nor does the order in which shares take them
    assert set(deal(USERS, 0.2, 0.2, 4).test) != set(whole.test)


@settings(deadline=None)
@given(st.integers(1, 500), st.lists(st.floats(0.001, 1.0), min_size=2, max_size=4))
def test_shares_are_nested_and_as_large_as_asked(num_users, shares):
    rows = np.arange(num_users)[::-1]
    taken = [first_share(rows, share) for share in sorted(shares)]
    for share, few, more in zip(sorted(shares), taken, taken[1:], strict=False):
        assert set(few) <= set(more) and len(few) >= 1
        assert abs(len(few) - share * num_users) <= 1
    assert len(first_share(rows, 1.0)) == num_users


def test_users_who_are_not_chosen_have_nothing_to_train_on(corpus):
    bucket = corpus.bucket(0)
    chosen = ChosenUsers(bucket.user_hash_U[::2], lambda b: (b, b.lengths_U))
    _, lengths = chosen.training(bucket)
    assert (lengths[::2] == bucket.lengths_U[::2]).all() and (lengths[1::2] == 0).all()
