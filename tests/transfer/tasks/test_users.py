"""Shares of a task's users are nested."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.transfer.tasks.users import ChosenUsers, first_share

USERS = np.random.default_rng(0).integers(-(2**62), 2**62, 4000)


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
