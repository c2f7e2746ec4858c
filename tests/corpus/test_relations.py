"""Who is related to whom, against dictionaries of sets."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.relations import NOBODY, Relations

USERS = 9
PAIRS = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, USERS - 1)).filter(lambda pair: pair[0] != pair[1]), min_size=1
)
HASHES = hash_ids(pa.array(range(USERS + 1)))  # of one more, who is related to nobody


def table(pairs, **more):
    ones, others = zip(*pairs, strict=True)
    return pa.table({"user_id": ones, "other_id": others} | more)


def slowly(pairs):
    friends = defaultdict(set)
    for one, other in pairs:
        friends[one].add(other)
        friends[other].add(one)
    return friends


def ids_of(relations, rows):
    place = {value: user for user, value in enumerate(HASHES.tolist())}
    return {place[int(value)] for value in relations.users_U[rows]}


@given(PAIRS)
def test_everybody_s_others_are_those_of_a_dictionary(pairs):
    relations, friends = Relations.of(table(pairs)), slowly(pairs)
    rows = relations.rows(HASHES)
    assert np.all(relations.users_U[1:] > relations.users_U[:-1])
    for user, row in enumerate(rows.tolist()):
        others = relations.others_E[relations.offsets_U1[row] : relations.offsets_U1[row + 1]] if row != NOBODY else []
        assert ids_of(relations, others) == friends.get(user, set())
        assert len(others) == len(set(others))


@given(PAIRS, st.lists(st.integers(0, USERS), min_size=1, max_size=6))
def test_who_is_near_is_a_friend_or_a_friend_s_friend(pairs, asked):
    relations, friends = Relations.of(table(pairs)), slowly(pairs)
    rows = relations.rows(HASHES)
    near = set(relations.near(rows[asked]).tolist())
    for place, user in enumerate(asked):
        reached = friends.get(user, set()).union(*(friends[friend] for friend in friends.get(user, set())))
        found = {other for other in range(USERS + 1) if int(relations.code(place, rows[other])) in near}
        assert found == reached


@given(PAIRS, st.sets(st.integers(0, USERS - 1)), st.lists(st.floats(0, 1, exclude_max=True), min_size=10, max_size=10))
def test_what_is_drawn_is_a_wanted_other_and_nobody_where_there_is_none(pairs, wanted, draws):
    relations, friends = Relations.of(table(pairs)), slowly(pairs)
    is_wanted_U = np.isin(relations.users_U, HASHES[sorted(wanted)])
    drawn = relations.towards(is_wanted_U).drawn(relations.rows(HASHES), np.array(draws))
    for user, row in enumerate(drawn.tolist()):
        choice = friends.get(user, set()) & wanted
        assert ids_of(relations, [row]) <= choice if choice else row == NOBODY


def test_others_are_drawn_equally_often():
    relations = Relations.of(table([(0, other) for other in range(1, 5)]))
    row = relations.rows(HASHES[:1])
    drawn = relations.drawn(np.repeat(row, 4000), (np.arange(4000) + 0.5) / 4000)
    assert np.bincount(drawn)[np.unique(drawn)].tolist() == [1000] * 4


def test_kinds_choose():
    told = table([(0, 1), (1, 2), (2, 0)], kind=["friend", "family", None])
    assert ids_of(Relations.of(told, ["family"]), slice(None)) == {1, 2}
    assert ids_of(Relations.of(told), slice(None)) == {0, 1, 2}
