"""Users are dealt out by their hash: never into two parts, whoever else is there."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.corpus.deal import deal

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
