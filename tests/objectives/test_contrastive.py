"""Looks at windows, and InfoNCE against its formula, pair by pair."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.corpus.batch import MASK, TIMESTAMPS, Batch
from ray_userrep.encoder.config import EncoderConfig
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.objectives.augment import masked, permuted, subsequence
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.contrastive import Contrastive

DRAWS = Draws(0, 0, 0)
many_windows = st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=1, max_size=6)


def timed(windows):
    batch = Batch.of(windows)
    return replace(batch, side={TIMESTAMPS: torch.arange(batch.num_tokens), "place": torch.arange(batch.num_tokens)})


def cut(batch, column):
    return [column[low:high].tolist() for low, high in pairwise(batch.offsets_B1.tolist())]


@given(many_windows)
def test_a_subsequence_is_a_run_of_its_window(windows):
    batch = timed(windows)
    look = subsequence(batch, DRAWS, 0, 0.6)
    for window, place, items in zip(windows, cut(look, look.side["place"]), cut(look, look.values_T), strict=True):
        assert len(items) == max(1, round(0.6 * len(window)))
        assert np.array_equal(np.diff(place), np.ones(len(place) - 1))
    assert torch.equal(batch.values_T[look.side["place"]], look.values_T)
    assert look.max_len == int(look.lengths().max())


@given(many_windows)
def test_a_permutation_moves_items_inside_a_run_and_leaves_times(windows):
    batch = timed(windows)
    look = permuted(batch, DRAWS, 0, 0.5)
    assert torch.equal(look.side[TIMESTAMPS], batch.side[TIMESTAMPS])
    assert torch.equal(batch.values_T[look.side["place"]], look.values_T)
    for window, place, was in zip(windows, cut(look, look.side["place"]), cut(batch, batch.side["place"]), strict=True):
        assert sorted(place) == was
        moved = np.flatnonzero(np.array(place) != was)
        assert not len(moved) or np.ptp(moved) < max(1, round(0.5 * len(window)))


def test_looks_differ_and_hide_the_share_asked_for():
    batch = timed([list(range(20))] * 300)
    looks = [masked(batch, DRAWS, look, 0.3) for look in (0, 1)]
    assert not torch.equal(looks[0].values_T, looks[1].values_T)
    assert (looks[0].values_T == MASK).float().mean().item() == pytest.approx(0.3, abs=0.02)
    first, second = (permuted(batch, DRAWS, look, 0.5).values_T for look in (0, 1))
    assert not torch.equal(first, second)


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=32), table, 9).eval()


def random_windows(number, seed=0):
    rng = np.random.default_rng(seed)
    return [list(rng.integers(0, 20, rng.integers(2, 9))) for _ in range(number)]


def test_the_loss_is_info_nce_both_ways(encoder):
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, None)
    batch = replace(timed(random_windows(5)), users_B=torch.tensor([0, 1, 1, 2, 3]))
    views = chosen.views(batch, DRAWS)
    a, b = (F.normalize(encoder(view), dim=-1) for view in views)
    expected = torch.zeros(())
    for first, second in ((a, b), (b, a)):
        for own in range(5):
            others = [i for i in range(5) if i == own or batch.users_B[i] != batch.users_B[own]]
            scores = first[own] @ second[others].T / 0.5
            expected = expected + (scores.logsumexp(0) - first[own] @ second[own] / 0.5) / 2
    torch.testing.assert_close(chosen(encoder, views).sums_P, expected[None])
    assert chosen.counts(views).tolist() == [5]


@pytest.mark.parametrize("view", [subsequence, masked])
@pytest.mark.parametrize("readout", ["last", "cls"])
def test_at_first_the_loss_is_about_the_log_of_the_batch(table, view, readout):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=64, readout=readout), table, 9, hides_items=True)
    chosen = Contrastive(view, 0.5, readout, 1.0, None)
    for number in (32, 256):
        views = chosen.views(timed(random_windows(number)), DRAWS)
        loss = chosen(encoder, views).sums_P / chosen.counts(views)
        assert loss.item() == pytest.approx(np.log(number), rel=0.12)


def test_few_negatives_are_the_same_for_all_and_drawn_anew(encoder):
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, 3)
    users = torch.arange(50)
    key = torch.from_numpy(DRAWS.uniforms(20, users.numpy()))
    found = chosen._negatives(users, torch.arange(50), key)
    assert (found.sum(1) - 1 <= 3).all() and found.diagonal().all()
    assert set(found.float().sum(0).topk(3).indices.tolist()) == set(key.topk(3, largest=False).indices.tolist())


def test_all_rows_of_two_ranks_are_the_joint_batch(encoder):
    """A gather that hands over the other rank's rows gives each rank its share of the joint loss and gradient."""
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, None)
    batch = timed(random_windows(6))
    whole = chosen(encoder, chosen.views(batch, DRAWS)).sums_P
    parts = []
    for first in (0, 3):
        mine = timed(random_windows(6)[first : first + 3])
        mine = replace(mine, users_B=batch.users_B[first : first + 3])
        parts.append(chosen.views(mine, DRAWS))

    def share(rank):
        other = parts[1 - rank]
        vectors = iter([*(F.normalize(encoder(view), dim=-1) for view in other), other[0].users_B])

        def gather(rows):
            rest = next(vectors, torch.zeros(3, dtype=rows.dtype))
            return torch.cat([rest, rows] if rank else [rows, rest]), 3 * rank

        return chosen(encoder, parts[rank], gather).sums_P

    torch.testing.assert_close(share(0) + share(1), whole)
