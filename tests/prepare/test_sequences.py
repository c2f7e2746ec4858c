"""Grouping a bucket's rows against a loop over users."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare.sequences import group, sequence_counts


def rows_of(events, order, user_type):
    """Canonical rows of (user, item, time) in their order, stored in another."""
    table = pa.table(
        {
            "user_id": pa.array([f"u{user}" if user_type == pa.string() else user for user, _, _ in events], user_type),
            "item_id": pa.array([f"i{item}" for _, item, _ in events]),
            "timestamp": pa.array([time for _, _, time in events], TIMESTAMP),
            "row": pa.array(range(len(events)), pa.int64()),
            "price": pa.array([None if item == 0 else item / 4 for _, item, _ in events], pa.float64()),
            "event": pa.array([f"event {row}" for row in range(len(events))]),
        }
    )
    return table.take(pa.array(order, pa.int64()))


def slowly(rows, ids):
    users = defaultdict(list)
    for row in rows.to_pylist():
        users[row["user_id"]].append(row)
    sequences = []
    for user in sorted(users):
        events = sorted(users[user], key=lambda row: (row["timestamp"], row["row"]))
        sequences.append(
            {
                "user_id": user,
                "user_hash": hash_ids(pa.array([user]))[0],
                "items": [ids.index(row["item_id"]) for row in events],
                "timestamps": [row["timestamp"].microsecond for row in events],
                "price": [row["price"] for row in events],
                "event": [row["event"] for row in events],
            }
        )
    return sequences


EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)
IDS = [f"i{item}" for item in (2, 0, 3, 1)]


@pytest.mark.parametrize("user_type", [pa.string(), pa.int64()])
def test_sequences_are_those_of_a_loop_over_users(user_type):
    @given(EVENTS.flatmap(lambda events: st.tuples(st.just(events), st.permutations(range(len(events))))))
    def check(drawn):
        rows = rows_of(*drawn, user_type)
        assert group(rows, pa.array(IDS)).to_pylist() == slowly(rows, IDS)

    check()


@given(EVENTS)
def test_counts_are_those_of_a_loop_over_users(events):
    rows = rows_of(events, range(len(events)), pa.int64())
    report = sequence_counts(group(rows, pa.array(IDS)))
    sequences = [(sequence["timestamps"], sequence["items"]) for sequence in slowly(rows, IDS)]
    assert report["num_ties"] == sum(len(times) - len(set(times)) for times, _ in sequences)
    assert report["num_duplicates"] == sum(
        len(items) - len(set(zip(times, items, strict=True))) for times, items in sequences
    )
    assert report["num_users"] == len({user for user, _, _ in events})
    assert report["num_interactions"] == len(events)
    assert report["side_columns"] == ["price", "event"]


def spread(events):
    """The same events at times so far apart that user and time do not fit one sort key."""
    return [(user, item, time * 2**60) for user, item, time in events]


@given(EVENTS.map(spread), st.integers(1, 4))
def test_the_newest_of_a_user_are_kept(events, cap):
    rows = rows_of(events, range(len(events)), pa.int64())
    capped, whole = group(rows, pa.array(IDS), cap).to_pylist(), group(rows, pa.array(IDS)).to_pylist()
    keys = ("items", "timestamps", "price", "event")
    assert capped == [sequence | {key: sequence[key][-cap:] for key in keys} for sequence in whole]


@pytest.mark.parametrize("step", [1, 2**60])
def test_ties_keep_the_order_of_the_log_however_large_times_are(step):
    rng = np.random.default_rng(0)
    user, time = rng.integers(0, 5, 2000), rng.integers(0, 7, 2000)
    events = list(zip(user.tolist(), (user % 4).tolist(), (time * step).tolist(), strict=True))
    rows = rows_of(events, rng.permutation(2000), pa.int64())
    found = [event for sequence in group(rows, pa.array(IDS))["event"].to_pylist() for event in sequence]
    assert found == [f"event {row}" for row in np.lexsort((time, user))]


def test_content_differs_where_the_order_of_a_users_items_does():
    one, other = ([(1, 0, 0), (1, 1, 1)], [(1, 1, 0), (1, 0, 1)])
    first, second = (
        sequence_counts(group(rows_of(e, range(2), pa.int64()), pa.array(IDS)))["content"] for e in (one, other)
    )
    assert first != second
