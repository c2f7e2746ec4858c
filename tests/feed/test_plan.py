"""The plan against slow, obvious versions and the properties that training leans on."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.corpus.jagged import ranges
from ray_userrep.errors import UserError
from ray_userrep.feed.plan import BatchPlan, GlobalBatch, Position, batch_of, rank_slice
from ray_userrep.feed.ranks import ALONE
from ray_userrep.feed.windows import Windows
from ray_userrep.recipe.corpus import StreamConfig

lengths_of_buckets = st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=5).filter(
    lambda buckets: any(n >= 2 for bucket in buckets for n in bucket)
)


def make_plan(buckets, lookahead=1, seed=0, ranks=ALONE, **config):
    config = {"max_len": 8, "batch_tokens": 16, **config}
    return BatchPlan([np.array(b, np.int64) for b in buckets], StreamConfig(**config), lookahead, seed, ranks=ranks)


class Rank(NamedTuple):
    """One of several that count together; what the others have counted is known."""

    rank: int
    world: int
    counted: list[list[int]]

    def total(self, counts):
        return np.sum([*self.counted, counts], axis=0, dtype=counts.dtype)


class Read(list):
    """Lengths of buckets, and which were asked for."""

    def __init__(self, lengths):
        super().__init__(np.array(b, np.int64) for b in lengths)
        self.asked = []

    def __getitem__(self, bucket):
        self.asked.append(int(bucket))
        return super().__getitem__(bucket)


def targets(plan, epoch):
    """Every (bucket, user, item position) that an epoch trains on, with how often."""
    seen = Counter()
    for batch in plan.batches(Position(epoch)):
        for bucket, row, start, length in zip(*batch.windows, strict=True):
            seen.update((bucket, row, position) for position in range(start + plan.lookahead, start + length))
    return seen


def test_example_windows_are_some_of_an_epoch_s_as_many_as_fill_a_batch():
    plan = BatchPlan([np.array([], np.int64), np.full(9, 5)], StreamConfig(max_len=4, batch_tokens=8), 1, 0)
    windows = plan.example()
    found = {
        (1, row, place)
        for row, start, length in zip(*windows[1:], strict=True)
        for place in range(start + 1, start + length)
    }
    assert len(found) == (windows.length_W - 1).sum() == 8 and found <= targets(plan, 0).keys()
    assert len(BatchPlan([np.array([3])], StreamConfig(max_len=4, batch_tokens=8), 1, 0).example().length_W) == 1


@given(lengths_of_buckets, st.integers(0, 1), st.integers(0, 3))
@settings(deadline=None)
def test_tiles_train_every_interaction_exactly_once(buckets, lookahead, epoch):
    plan = make_plan(buckets, lookahead)
    expected = Counter(
        (b, u, position)
        for b, users in enumerate(buckets)
        for u, n in enumerate(users)
        for position in range(lookahead, n)
    )
    assert targets(plan, epoch) == expected


@given(lengths_of_buckets, st.integers(1, 4))
@settings(deadline=None)
def test_ranks_that_count_their_shares_make_the_plan_of_one(buckets, world):
    alone, counted = make_plan(buckets), []
    for rank in range(world - 1):
        own = [n for bucket in buckets[rank::world] for n in bucket if n > 1]
        counted.append([len(own), sum(n - 1 for n in own)])
    last = make_plan(buckets, ranks=Rank(world - 1, world, counted))
    assert (last.num_users, last.num_tokens, last.num_batches) == (alone.num_users, alone.num_tokens, alone.num_batches)
    assert targets(last, 0) == targets(alone, 0)


@given(lengths_of_buckets, st.sampled_from(["tile", "last", "random"]))
def test_a_plan_of_lengths_that_were_counted_before_is_the_same_and_reads_none(buckets, windows):
    config, lengths = StreamConfig(max_len=8, batch_tokens=16, windows=windows), Read(buckets)
    alone = make_plan(buckets, windows=windows)
    counted = np.unique(np.concatenate([np.array(b, np.int64) for b in buckets]), return_counts=True)
    plan = BatchPlan(lengths, config, 1, 0, counted=counted)
    assert lengths.asked == []
    assert (plan.num_users, plan.num_tokens, plan.num_batches) == (alone.num_users, alone.num_tokens, alone.num_batches)


def test_a_plan_reads_only_the_share_of_its_rank_and_then_the_group_at_hand():
    lengths = Read([[9] * 5] * 20)
    plan = BatchPlan(lengths, StreamConfig(max_len=8, batch_tokens=16, shuffle_buckets=2), 1, 0, ranks=Rank(1, 4, []))
    assert lengths.asked == [1, 5, 9, 13, 17]
    lengths.asked.clear()
    next(plan.batches(Position()))
    assert len(set(lengths.asked)) <= 4


@given(lengths_of_buckets, st.sampled_from(["tile", "last", "random"]), st.integers(1, 3))
@settings(deadline=None)
def test_epoch_has_the_announced_batches_none_empty(buckets, windows, group):
    plan = make_plan(buckets, windows=windows, shuffle_buckets=group)
    batches = list(plan.batches(Position(2)))
    assert [b.position for b in batches] == [Position(2, i) for i in range(plan.num_batches)]
    assert all(len(b.windows.row_W) for b in batches)
    assert sum(int((b.windows.length_W - 1).sum()) for b in batches) == plan.num_tokens


@given(lengths_of_buckets, st.data())
@settings(deadline=None)
def test_resuming_anywhere_gives_the_rest_of_the_epoch(buckets, data):
    plan = make_plan(buckets, shuffle_buckets=2)
    whole = list(plan.batches(Position(1)))
    first = data.draw(st.integers(0, len(whole) - 1))
    rest = list(plan.batches(Position(1, first)))
    assert [b.position for b in rest] == [b.position for b in whole[first:]]
    for a, b in zip(rest, whole[first:], strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.windows, b.windows, strict=True))


def test_last_and_random_windows_are_one_a_user_and_inside_it():
    lengths = [[5, 30, 2, 1]]
    last = next(make_plan(lengths, windows="last", batch_tokens=64).batches(Position()))
    assert sorted(zip(last.windows.row_W, last.windows.start_W, last.windows.length_W, strict=True)) == [
        (0, 0, 5),
        (1, 21, 9),
        (2, 0, 2),
    ]
    plan = make_plan(lengths, windows="random", batch_tokens=64)
    starts = set()
    for epoch in range(40):
        windows = next(plan.batches(Position(epoch))).windows
        starts.add(int(windows.start_W[windows.row_W == 1][0]))
        assert (windows.start_W + windows.length_W <= np.array(lengths[0])[windows.row_W]).all()
    assert min(starts) >= 0 and max(starts) <= 21 and len(starts) > 10


def test_epochs_and_seeds_shuffle_differently():
    order = lambda seed, epoch: [  # noqa: E731
        w for b in make_plan([[9] * 50], seed=seed).batches(Position(epoch)) for w in b.windows.row_W
    ]
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


@given(st.lists(st.integers(2, 64), min_size=1, max_size=60), st.integers(1, 5), st.integers(8, 400))
@settings(deadline=None)
def test_ranks_share_a_batch_exactly_and_run_equally_many_micro_batches(lengths, world, micro_tokens):
    n = len(lengths)
    windows = Windows(np.zeros(n, np.int64), np.arange(n), np.zeros(n, np.int64), np.array(lengths))
    slices = [rank_slice(GlobalBatch(Position(), windows), r, world, micro_tokens) for r in range(world)]
    assert len({len(s) for s in slices}) == 1
    rows = [row for s in slices for micro in s if micro.weight for row in micro.windows.row_W]
    assert sorted(rows) == list(range(n))
    assert all(len(micro.windows.row_W) for s in slices for micro in s)


def test_slices_are_balanced_in_tokens_and_in_squared_lengths():
    lengths = np.minimum(np.random.default_rng(0).zipf(1.5, 2000) + 1, 65)
    windows = Windows(np.zeros(2000, np.int64), np.arange(2000), np.zeros(2000, np.int64), lengths)
    slices = [rank_slice(GlobalBatch(Position(), windows), r, 4, 1000) for r in range(4)]
    loads = np.array([[m.windows.length_W.sum() for m in s] for s in slices])
    squares = np.array([[(m.windows.length_W**2).sum() for m in s] for s in slices])
    assert loads.max() < 1.02 * loads.mean() + 65
    assert squares.max() < 1.05 * squares.mean() + 65**2


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9)), max_size=20))
def test_ranges_is_the_obvious_concatenation(pairs):
    starts, lengths = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    assert ranges(starts, lengths).tolist() == [s + k for s, n in pairs for k in range(n)]


def test_nothing_to_train_on_and_too_small_batches_are_refused():
    with pytest.raises(UserError, match="no user has two interactions"):
        make_plan([[1, 1], [0]])
    with pytest.raises(UserError, match=r"stream.batch_tokens 4 is smaller than stream.max_len 8"):
        make_plan([[9]], batch_tokens=4)


@given(st.integers(1, 10**13), st.integers(1, 10**9), st.lists(st.integers(0, 10**6), max_size=20), st.floats(0, 1))
def test_batches_are_exact_shares_at_any_size(num_tokens, num_batches, sizes, share):
    before = [round(share * num_tokens) + sum(sizes[:place]) for place in range(len(sizes))]
    before = [min(tokens, num_tokens - 1) for tokens in before]
    num_batches = min(num_batches, max(1, num_tokens // 1000))
    expected = [tokens * num_batches // num_tokens for tokens in before]
    assert batch_of(np.array(before, np.int64), num_batches, num_tokens).tolist() == expected
