"""Merging the files of a bucket against a loop over users."""

from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.jagged import KEYS, completed, merge_sequences
from ray_userrep.logs.times import TIMESTAMP
from ray_userrep.prepare.sequences import group

INT = pa.int64()
ITEMS = [10, 11, 12]
EVENT = st.tuples(st.integers(0, 5), st.sampled_from(ITEMS), st.integers(-3, 6))
FILES = st.lists(st.lists(EVENT, min_size=1, max_size=12), min_size=1, max_size=4)


def sequences(events, user_type=INT, price=True):
    """A file of (user, item, time) rows, with their place as the price."""
    users = [f"u{user}" if user_type == pa.string() else user for user, _, _ in events]
    columns = {
        "user_id": pa.array(users, user_type),
        "item_id": pa.array([item for _, item, _ in events]),
        "timestamp": pa.array([time for _, _, time in events], TIMESTAMP),
        "row": pa.array(range(len(events)), pa.int64()),
    }
    columns |= {"price": pa.array([place / 2 for place in range(len(events))])} if price else {}
    return group(pa.table(columns), pa.array(ITEMS))


def slowly(files):
    """User -> (time, item) in order: a stable sort of the files one after the other."""
    users = defaultdict(list)
    for file in files:
        for row in file.to_pylist():
            users[row["user_id"]] += zip(row["timestamps"], row["items"], row.get("price", []), strict=True)
    return {user: sorted(users[user], key=lambda event: event[0]) for user in sorted(users)}


@pytest.mark.parametrize("user_type", [INT, pa.string()])
@given(FILES)
def test_files_are_merged_as_by_a_loop_over_users(user_type, files):
    tables = [sequences(events, user_type) for events in files]
    merged = merge_sequences(tables)
    found = {
        row["user_id"]: list(zip(row["timestamps"], row["items"], row["price"], strict=True))
        for row in merged.to_pylist()
    }
    expected = slowly(tables)
    assert list(found.items()) == list(expected.items())
    assert merged["user_hash"].to_pylist() == hash_ids(merged["user_id"]).tolist()
    assert merged.schema == tables[0].schema


def test_a_column_that_a_file_lacks_is_unknown_in_its_rows():
    old, new = sequences([(1, 10, 0), (2, 11, 0), (2, 11, 1)], price=False), sequences([(2, 12, 5)])
    merged = merge_sequences([completed(table, ["price"]) for table in (old, new)])
    assert merged.column_names == [*KEYS, "price"]
    assert merged["price"].to_pylist() == [[None], [None, None, 0.0]]
