"""Split rules against per-user Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.config import SplitConfig
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.splits import NONE, resolve
from ray_userrep.errors import UserError

DAY = 86_400_000_000


def manifest(days, content="c"):
    return Manifest(
        version=1, created="", source_uri="", reader="", source_fingerprint="", content_fingerprint=content,
        num_buckets=1,
        num_users=1, num_items=1, num_interactions=sum(days.values()), num_ties=0, num_duplicates=0, quarantined={},
        interactions_per_day=days, side_columns=[], items="", users=None, quarantine=[], sequences=[], sources="",
    )  # fmt: skip


def test_leave_one_out_holds_out_the_last_two_of_users_with_three():
    split = resolve(SplitConfig(), manifest({"1970-01-01": 10}))
    cut = split.positions(np.array([0, 0, 1, 3, 6, 10]), np.zeros(10, np.int64))
    assert cut.train_end_U.tolist() == [0, 1, 2, 1, 2]
    assert cut.valid_U.tolist() == [NONE, NONE, NONE, 1, 2]
    assert cut.test_U.tolist() == [NONE, NONE, NONE, 2, 3]
    assert cut.before_test_U.tolist() == [0, 1, 2, 2, 3]


@given(st.lists(st.lists(st.integers(0, 9), max_size=8).map(sorted), min_size=1, max_size=6))
def test_global_time_cuts_every_user_at_the_same_two_midnights(users):
    days = {f"1970-01-{day + 1:02d}": 1 for day in range(10)}
    split = resolve(SplitConfig(rule="global_time", valid_share=0.2, test_share=0.2), manifest(days))
    valid_day, test_day = split.valid_from // DAY, split.test_from // DAY
    assert (valid_day, test_day) == (6, 8)
    offsets = np.cumsum([0, *map(len, users)])
    stamps = np.array([day for user in users for day in user], np.int64) * DAY
    cut = split.positions(offsets, stamps)
    for number, user in enumerate(users):
        train = [d for d in user if d < valid_day]
        valid = [i for i, d in enumerate(user) if valid_day <= d < test_day]
        test = [i for i, d in enumerate(user) if d >= test_day]
        assert cut.train_end_U[number] == len(train)
        assert cut.valid_U[number] == (valid[0] if valid and train else NONE)
        assert cut.before_test_U[number] == len([d for d in user if d < test_day])
        assert cut.test_U[number] == (test[0] if test and test[0] > 0 else NONE)


def test_a_log_of_one_day_has_no_global_time_split():
    with pytest.raises(UserError, match="global_time: 1 days"):
        resolve(SplitConfig(rule="global_time"), manifest({"2020-01-01": 5}))


def test_fingerprint_tells_rule_content_and_seen_policy_apart():
    days = {f"1970-01-{day + 1:02d}": 1 for day in range(10)}
    by_time = SplitConfig(rule="global_time")
    prints = {
        resolve(config, manifest(days)).fingerprint(manifest(days, content), seen)
        for config in (SplitConfig(), by_time)
        for content in "ab"
        for seen in (False, True)
    }
    assert len(prints) == 8
