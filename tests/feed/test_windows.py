"""Mixing by temperature: as often as planned, whatever the grouping, with an account that a slow count confirms."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ray_userrep.corpus.splits import resolve
from ray_userrep.errors import UserError
from ray_userrep.feed.plan import BatchPlan, Position
from ray_userrep.feed.ranks import ALONE
from ray_userrep.feed.stream import make_plan
from ray_userrep.feed.windows import collect_domains
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig

NAMES = ("books", "games", "music")

# Every bucket holds users, each a list of the domains of its interactions.
buckets_of_domains = st.lists(
    st.lists(st.lists(st.integers(0, 2), max_size=30), max_size=8), min_size=1, max_size=5
).filter(lambda buckets: any(len(user) >= 2 for users in buckets for user in users))


def make(buckets, temperature=1.0, told=True, **config):
    lengths = [np.array([len(user) for user in users], np.int64) for users in buckets]
    codes = [np.array([code for user in users for code in user], np.uint8) for users in buckets]
    domains = collect_domains(NAMES, lengths, codes.__getitem__, ALONE)
    stream = StreamConfig(**{"max_len": 8, "batch_tokens": 16, "domain_temperature": temperature, **config})
    return BatchPlan(lengths, stream, 1, 0, domains if told else None)


def windows_of(plan, epoch):
    """Every (bucket, user, first item, length) of an epoch, with how often."""
    return Counter(
        tuple(map(int, window))
        for batch in plan.batches(Position(epoch))
        for window in zip(*batch.windows, strict=True)
    )


def slow_counts(buckets, windows):
    """Targets by domain: a window's are all of the domain of its last interaction."""
    counts = [0, 0, 0]
    for (bucket, user, start, length), times in windows.items():
        counts[buckets[bucket][user][start + length - 1]] += (length - 1) * times
    return counts


@given(buckets_of_domains)
@settings(deadline=None)
def test_at_temperature_one_the_plan_is_the_one_without_domains(buckets):
    told, plain = (list(make(buckets, told=told).batches(Position(1))) for told in (True, False))
    assert [b.position for b in told] == [b.position for b in plain]
    for one, other in zip(told, plain, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.windows, other.windows, strict=True))


@given(buckets_of_domains, st.floats(1, 50), st.sampled_from(["tile", "last", "random"]), st.integers(0, 3))
@example([[[0] * 9 + [1]]], 2.0, "random", 1)  # a window of a domain that the first epoch had none of
@settings(deadline=None)
def test_the_account_is_what_an_epoch_does(buckets, temperature, windows, epoch):
    plan = make(buckets, temperature, windows=windows)
    done, all_there = windows_of(plan, epoch), windows_of(make(buckets, windows=windows), epoch)
    account = plan.account(epoch)
    assert account.targets_D.tolist() == slow_counts(buckets, all_there)
    assert account.trained_D.tolist() == slow_counts(buckets, done)
    assert account.repeated_D.tolist() == slow_counts(buckets, done - all_there)
    assert account.left_out_D.tolist() == slow_counts(buckets, all_there - done)
    told = sum(plan.targets(batch.windows) for batch in plan.batches(Position(epoch)))
    assert told.tolist() == account.trained_D.tolist()


def test_a_domain_that_the_first_epoch_had_no_window_of_has_its_turns():
    plan = make([[[0] * 9 + [1]]], temperature=2.0, windows="random")
    trained_ED = np.array([plan.account(epoch).trained_D for epoch in range(20)])
    assert (trained_ED[:, :2].sum(0) > 0).all()


@given(buckets_of_domains, st.floats(1, 50), st.data())
@settings(deadline=None)
def test_grouping_and_resuming_do_not_change_what_is_trained_on(buckets, temperature, data):
    plan = make(buckets, temperature, shuffle_buckets=2)
    assert windows_of(plan, 2) == windows_of(make(buckets, temperature), 2)
    whole = list(plan.batches(Position(2)))
    assert [batch.position for batch in whole] == [Position(2, number) for number in range(len(whole))]
    assert all(len(batch.windows.row_W) for batch in whole)
    assert [batch.is_last for batch in whole] == [batch is whole[-1] for batch in whole]
    assume(whole)
    first = data.draw(st.integers(0, len(whole) - 1))
    rest = list(plan.batches(Position(2, first)))
    assert [b.position for b in rest] == [b.position for b in whole[first:]]
    for one, other in zip(rest, whole[first:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.windows, other.windows, strict=True))


@given(buckets_of_domains, st.floats(1, 20))
@settings(deadline=None, max_examples=30)
def test_the_turns_of_a_window_come_round_evenly(buckets, temperature):
    plan, epochs = make(buckets, temperature), 7
    total = sum((windows_of(plan, epoch) for epoch in range(epochs)), Counter())
    for window in windows_of(make(buckets), 0):
        rate = 1.0 if plan.rate_D is None else plan.rate_D[buckets[window[0]][window[1]][window[2] + window[3] - 1]]
        assert abs(total[window] - epochs * rate) < 1 + 1e-9


@pytest.mark.parametrize("temperature", [1, 2, 5, 1e9])
def test_shares_are_sizes_to_the_power_of_one_over_the_temperature(temperature):
    sizes = np.array([400, 100, 25])
    users = [[code] * 9 for code, size in enumerate(sizes) for _ in range(size)]
    plan = make([users[::2], users[1::2]], temperature, batch_tokens=64)
    trained = plan.account(3).trained_D
    expected = sizes ** (1 / temperature) / (sizes ** (1 / temperature)).sum()
    assert trained / trained.sum() == pytest.approx(expected, rel=0.1)
    assert trained.sum() == pytest.approx(8 * sizes.sum(), rel=0.1)


def test_a_window_belongs_to_the_domain_of_its_last_interaction_in_the_log(corpus):
    plan = make_plan(corpus, resolve(LeaveOneOutConfig(), corpus), StreamConfig(max_len=4, batch_tokens=64), 1, 0)
    names = list(corpus.manifest.domains)
    assert plan.domains.names == tuple(names) and names == ["", "books", "games", "music"]
    rows = {}
    for file in corpus.manifest.sequences:
        table = pq.read_table(f"{corpus.uri}/{file.path}")
        rows[file.bucket] = table["domain"].to_pylist()
    for batch in plan.batches(Position()):
        expected = [
            names.index(rows[bucket][row][start + length - 1] or "")
            for bucket, row, start, length in zip(*batch.windows, strict=True)
        ]
        assert plan.domains.of(batch.windows).tolist() == expected


def test_a_log_of_one_domain_is_not_told_apart(corpus):
    corpus.manifest.domains = {"books": 3}
    plan = make_plan(corpus, resolve(LeaveOneOutConfig(), corpus), StreamConfig(max_len=4, batch_tokens=64), 1, 0)
    assert plan.domains is None and len(plan.account(0).trained_D) == 1
    with pytest.raises(UserError, match=r"stream.domain_temperature 2: .* has 1 domains, nothing to mix"):
        make_plan(corpus, resolve(LeaveOneOutConfig(), corpus), StreamConfig(domain_temperature=2), 1, 0)
