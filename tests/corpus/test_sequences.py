"""Grouping a bucket's rows against a loop over users."""

from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.hashing import hash_ids
from ray_userrep.corpus.sequences import group, summary
from ray_userrep.logs.times import TIMESTAMP


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
    return table.append_column("user_hash", pa.array(hash_ids(table["user_id"]))).take(pa.array(order, pa.int64()))


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
def test_counts_are_those_of_a_loop_over_neighbours(events):
    rows = rows_of(events, range(len(events)), pa.int64())
    report = summary(group(rows, pa.array(IDS)))
    pairs = [
        (sequence["timestamps"][place - 1 : place + 1], sequence["items"][place - 1 : place + 1])
        for sequence in slowly(rows, IDS)
        for place in range(1, len(sequence["items"]))
    ]
    assert report["num_ties"] == sum(len(set(times)) == 1 for times, _ in pairs)
    assert report["num_duplicates"] == sum(len(set(times)) == 1 and len(set(items)) == 1 for times, items in pairs)
    assert report["num_users"] == len({user for user, _, _ in events})
    assert report["num_interactions"] == len(events)
    assert report["longest"] == max(len(sequence["items"]) for sequence in slowly(rows, IDS))
    assert report["side_columns"] == ["price", "event"]


def test_content_differs_where_the_order_of_a_users_items_does():
    one, other = ([(1, 0, 0), (1, 1, 1)], [(1, 1, 0), (1, 0, 1)])
    first, second = (summary(group(rows_of(e, range(2), pa.int64()), pa.array(IDS)))["content"] for e in (one, other))
    assert first != second
