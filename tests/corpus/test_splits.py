"""Split rules against per-user Python: what is trained on, what is known, what is predicted."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.manifest import Manifest
from ray_userrep.corpus.splits import NONE, resolve
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import (
    ColdItemConfig,
    ColdUserConfig,
    GlobalTimeConfig,
    LeaveKOutConfig,
    LeaveOneOutConfig,
    SplitConfig,
)

DAY = 86_400_000_000
NUM_ITEMS = 12
TEN_DAYS = {f"1970-01-{day + 1:02d}": 1 for day in range(10)}

# Every user is a list of (day, item), in order.
users_of_a_bucket = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, NUM_ITEMS - 1)), max_size=9).map(
        lambda user: sorted(user, key=lambda event: event[0])
    ),
    min_size=1,
    max_size=8,
)


class Held(Corpus):
    """A corpus without files: a manifest and an item table."""

    def __init__(self, days=TEN_DAYS, content="c"):
        manifest = Manifest(
            version=1, created="", source_uri="", reader="", source_fingerprint="", content_fingerprint=content,
            num_buckets=1, num_users=1, num_items=NUM_ITEMS, num_interactions=sum(days.values()), num_ties=0,
            num_duplicates=0, quarantined={}, interactions_per_day=days, side_columns=[], items="", users=None,
            quarantine=[], sequences=[], sources="", users_per_length={sum(days.values()): 1},
        )  # fmt: skip
        super().__init__("memory", manifest)

    def items(self):
        return ItemTable(pa.table({"item_id": [f"i{n}" for n in range(NUM_ITEMS)]}))


def bucket_of(users):
    offsets = np.cumsum([0, *map(len, users)])
    days, items = (np.array([event[k] for user in users for event in user], np.int64) for k in (0, 1))
    ids = pa.array(range(len(users)))
    return Bucket(ids, hash_ids(ids), offsets, items, days * DAY, {"place": np.concatenate([*map(places, users), []])})


def places(user):
    return np.arange(len(user), dtype=float)


def lists(bucket):
    return [part.tolist() for part in np.split(bucket.items_N, bucket.offsets_U1[1:-1])]


def items_of(user):
    return [item for _, item in user]


def check(config, users, cut):
    """Compare a split with `cut(user number, items)`, which returns what is trained on, learned before the test and
    known at it, and the (history, target) pairs of validation and test."""
    split, bucket = resolve(config, Held()), bucket_of(users)
    expected = [cut(number, items_of(user)) for number, user in enumerate(users)]
    view, lengths = split.training(bucket)
    assert [seen[:length] for seen, length in zip(lists(view), lengths, strict=True)] == [e[0] for e in expected]
    assert lists(split.learned(bucket, "valid")) == [e[0] for e in expected]
    assert lists(split.learned(bucket, "test")) == [e[1] for e in expected]
    assert lists(split.known(bucket)) == [e[2] for e in expected]
    for part, pairs in (("valid", 3), ("test", 4)):
        known, targets = split.targets(bucket, part)
        found = list(zip(known.user_hash_U.tolist(), lists(known) if len(targets) else [], targets, strict=True))
        hashes = bucket.user_hash_U.tolist()
        assert found == [(hashes[number], *pair) for number, e in enumerate(expected) for pair in e[pairs]]
        assert len(known.side_N["place"]) == len(known.items_N) == len(known.timestamps_N)


@given(users_of_a_bucket)
@settings(deadline=None)
def test_leave_one_out_holds_out_the_last_two_of_users_with_three(users):
    def cut(_, items):
        if len(items) < 3:
            return items, items, items, [], []
        return items[:-2], items[:-1], items[:-1], [(items[:-2], items[-2])], [(items[:-1], items[-1])]

    check(LeaveOneOutConfig(), users, cut)
    check(LeaveKOutConfig(k=1), users, cut)


@given(users_of_a_bucket, st.integers(1, 4))
@settings(deadline=None)
def test_leave_k_out_predicts_each_of_the_last_k_from_all_before_it(users, k):
    def cut(_, items):
        n = len(items)
        if n < 2 * k + 1:
            return items, items, items, [], []
        pairs = [(items[:place], items[place]) for place in range(n - 2 * k, n)]
        return items[: n - 2 * k], items[: n - k], items[: n - k], pairs[:k], pairs[k:]

    check(LeaveKOutConfig(k=k), users, cut)


@given(users_of_a_bucket)
@settings(deadline=None)
def test_global_time_cuts_every_user_at_the_same_two_midnights(users):
    config = GlobalTimeConfig(valid_share=0.2, test_share=0.2)
    split = resolve(config, Held())
    assert (split.valid_from // DAY, split.test_from // DAY) == (6, 8)

    def cut(number, items):
        days = [day for day, _ in users[number]]
        train, before = sum(day < 6 for day in days), sum(day < 8 for day in days)
        valid = [(items[:train], items[train])] if 0 < train < before else []
        test = [(items[:before], items[before])] if 0 < before < len(items) else []
        return items[:train], items[:before], items[:before], valid, test

    check(config, users, cut)


def test_global_time_takes_the_day_that_is_named():
    days = {f"2020-01-{day:02d}": 10 for day in range(1, 21) if day != 15}
    for named, valid in [("2020-01-15", "2020-01-14"), ("2020-01-16", "2020-01-14"), ("2020-01-04", "2020-01-03")]:
        split = resolve(GlobalTimeConfig(valid_share=0.1, test_from=named), Held(days))
        moments = [np.datetime64(moment, "us").astype(str)[:10] for moment in (split.valid_from, split.test_from)]
        assert moments == [valid, named]
    for named in ("2020-01-01", "2020-01-21", "2019-01-01"):
        with pytest.raises(UserError, match=f"change split.valid_share and split.test_from {named}"):
            resolve(GlobalTimeConfig(test_from=named), Held(days))


@given(users_of_a_bucket, st.integers(0, 3), st.sampled_from([None, 1, 3]))
@settings(deadline=None)
def test_cold_users_are_never_learned_from(users, seed, max_known):
    config = ColdUserConfig(valid_share=0.3, test_share=0.3, seed=seed, max_known=max_known)
    part = parts(list(range(len(users))), config)

    def cut(number, items):
        known = items[:-1][:max_known]
        pairs = [(known, items[len(known)])] if known else []
        if part[number] == "test":
            return [], [], known if pairs else items, [], pairs
        if part[number] == "valid":
            return [], [], items, pairs, []
        return items, items, items, [], []

    check(config, users, cut)


@given(users_of_a_bucket, st.integers(0, 3))
@settings(deadline=None)
def test_cold_items_are_targets_and_nothing_else(users, seed):
    config = ColdItemConfig(valid_share=0.2, test_share=0.3, seed=seed)
    part = parts([f"i{n}" for n in range(NUM_ITEMS)], config)

    def newest(items, wanted):
        found = []
        for place, item in enumerate(items):
            history = [before for before in items[:place] if part[before] == "train"]
            if part[item] == wanted and history:
                found = [(history, item)]
        return found

    def cut(_, items):
        warm = [item for item in items if part[item] == "train"]
        return warm, warm, warm, newest(items, "valid"), newest(items, "test")

    check(config, users, cut)


def parts(ids, config):
    """Which part each id is held out for, one at a time."""
    from ray_userrep.corpus import draws

    found = []
    for one in ids:
        draw = draws.uniforms(9, config.seed, hash_ids(pa.array([one])))[0]
        share = config.test_share + config.valid_share
        found.append("test" if draw < config.test_share else "valid" if draw < share else "train")
    return found


@pytest.mark.parametrize("kind", [ColdUserConfig, ColdItemConfig])
def test_shares_are_held_out_and_another_seed_holds_out_others(kind):
    ids = list(range(20_000))
    first, second = (parts(ids, kind(valid_share=0.1, test_share=0.25, seed=seed)) for seed in (0, 1))
    assert first.count("test") == pytest.approx(5000, rel=0.06)
    assert first.count("valid") == pytest.approx(2000, rel=0.1)
    both = sum(a == b == "test" for a, b in zip(first, second, strict=True))
    assert both == pytest.approx(20_000 / 16, rel=0.15)


def test_a_log_of_one_day_has_no_global_time_split():
    with pytest.raises(UserError, match="global_time: 1 days"):
        resolve(GlobalTimeConfig(), Held({"2020-01-01": 5}))


def test_fingerprint_tells_rule_content_and_seen_policy_apart():
    rules = [LeaveOneOutConfig(), LeaveKOutConfig(k=2), LeaveKOutConfig(k=3), GlobalTimeConfig(), ColdUserConfig()]
    rules += [ColdUserConfig(seed=1), ColdItemConfig(), ColdItemConfig(test_share=0.2)]
    prints = {
        resolve(config, Held(content=content)).fingerprint(Held(content=content).manifest, seen)
        for config in rules
        for content in "ab"
        for seen in (False, True)
    }
    assert len(prints) == 4 * len(rules)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"rule": "leave_one_out", "k": 2}, "Extra inputs"),
        ({"rule": "cold_user", "test_share": 0.7}, "less than 0.5"),
        ({"rule": "leave_k_out", "k": 0}, "greater than or equal to 1"),
        ({"rule": "leave_it"}, "leave_k_out"),
    ],
)
def test_what_a_rule_does_not_take_is_refused(raw, told):
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(SplitConfig).validate_python(raw)


def test_users_without_targets_are_none():
    cut = resolve(LeaveOneOutConfig(), Held()).positions(bucket_of([[(0, 1)], []]))
    assert cut.test_U.tolist() == cut.valid_U.tolist() == [NONE, NONE]


def test_shares_of_the_users_are_nested_and_change_nothing_that_is_measured():
    bucket = bucket_of([[(day, day) for day in range(6)] for _ in range(2000)])
    config, kept_U = ColdUserConfig(), np.zeros(2000, bool)
    whole = resolve(config, Held())
    for share in (0.1, 0.4, 1.0):
        split = resolve(config, Held(), share)
        trained_U = split.training(bucket)[1] > 0
        assert (trained_U >= kept_U).all() and trained_U.sum() > kept_U.sum()
        assert abs(trained_U.sum() / (whole.training(bucket)[1] > 0).sum() - share) < 0.04
        for part in ("valid", "test"):
            np.testing.assert_array_equal(split.targets(bucket, part)[1], whole.targets(bucket, part)[1])
        kept_U = trained_U
