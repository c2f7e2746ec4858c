"""Attributes of users beside their interactions, against a dictionary; what a log lacks is refused by name."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.profiles import MOST_VALUES, profile_hashes, refuse_too_many
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError

AGES = [None if user % 7 == 0 else 18 + user % 5 for user in range(80)]


@pytest.fixture
def profiled(corpus) -> Corpus:
    """A table of most users, in no order, with whole and other numbers and texts."""
    order = np.random.default_rng(0).permutation(80)[:60]
    towns = [["Ulm", "Bonn", None][user % 3] for user in order]
    columns = {"user_id": order, "age": [AGES[user] for user in order], "town": towns}
    storage.write_parquet(f"{corpus.uri}/data/users.parquet", pa.table(columns))
    return Corpus(corpus.uri, corpus.manifest.model_copy(update={"users": "data/users.parquet"}))


def test_each_interaction_has_what_is_known_of_its_user(profiled):
    rows = profiled.users().to_pylist()
    known = {row["user_id"]: row for row in rows}
    code = {text: profile_hashes(pa.array([text]))[0] for text in ["Ulm", "Bonn", *map(str, range(18, 23))]}
    assert len({*code.values()}) == 7
    found = 0
    for number in profiled.buckets():
        bucket = profiled.bucket(number, ["user.age", "price", "user.town"])
        assert list(bucket.side_N) == ["price", "user.age", "user.town"]
        for user, low, high in zip(bucket.user_ids.to_pylist(), bucket.offsets_U1, bucket.offsets_U1[1:], strict=False):
            for name in ("age", "town"):
                value = known.get(user, {}).get(name)
                expected = 0 if value is None else code[str(value)]
                assert (bucket.side_N[f"user.{name}"][low:high] == expected).all()
                found += value is not None and high > low
    assert found > 50


def test_numbers_are_the_same_whole_or_not_and_what_is_not_finite_is_not_known():
    whole, other = profile_hashes(pa.array([25, None, 30])), profile_hashes(pa.array([25.0, np.nan, 30.0]))
    np.testing.assert_array_equal(whole, other)
    assert whole[1] == 0 and len({*whole.tolist()}) == 3


def test_what_a_log_lacks_is_refused_by_name(corpus, profiled):
    with pytest.raises(UserError, match=r"encoder\.profile age: .*has no table of users: put users\.csv"):
        corpus.bucket(0, ["user.age"])
    with pytest.raises(UserError, match=r"encoder\.profile: no 'income' among the users' columns age, town"):
        profiled.bucket(0, ["user.income"])


def test_attributes_that_tell_single_users_are_refused():
    refuse_too_many("zip", pa.chunked_array([list(range(MOST_VALUES))]))
    with pytest.raises(UserError, match=r"encoder\.profile zip: it has 101 values, more than 100: group them"):
        refuse_too_many("zip", pa.chunked_array([list(range(MOST_VALUES + 1))]))
    with pytest.raises(UserError, match=r"encoder\.profile tags: its values are lists"):
        refuse_too_many("tags", pa.chunked_array([[["a"], ["b"]]]))
