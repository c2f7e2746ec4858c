"""The in-batch softmax over all ranks' targets, cosines, and which hard negatives are chosen, one anchor at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.autoregressive import TARGETS, Autoregressive
from ray_userrep.objectives.base import TARGET_USERS, Draws
from ray_userrep.objectives.in_batch import InBatchSoftmax, hardest, semi_hard
from ray_userrep.objectives.softmax import Cosine, FullSoftmax
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ANCHORS, NUM_CANDIDATES = 5, 9


def by_score(score, truth):
    return -score


def below_the_truth_first(score, truth):
    return (score > truth, abs(score - truth))


@pytest.mark.parametrize(("choose", "order"), [(hardest, by_score), (semi_hard, below_the_truth_first)])
@given(seed=st.integers(0, 1000), number=st.integers(1, NUM_CANDIDATES + 2))
def test_the_first_in_order_of_those_that_may_be_told_apart(choose, order, seed, number):
    rng = torch.Generator().manual_seed(seed)
    scores_NG = torch.randn(NUM_ANCHORS, NUM_CANDIDATES, generator=rng)
    own_N = torch.randint(NUM_CANDIDATES, (NUM_ANCHORS,), generator=rng)
    is_negative_NG = torch.rand(NUM_ANCHORS, NUM_CANDIDATES, generator=rng) < 0.6
    is_negative_NG[torch.arange(NUM_ANCHORS), own_N] = False
    chosen_NG = choose(scores_NG, is_negative_NG, own_N, number)
    for anchor in range(NUM_ANCHORS):
        scores, truth = scores_NG[anchor].tolist(), float(scores_NG[anchor, own_N[anchor]])
        others = [place for place in range(NUM_CANDIDATES) if is_negative_NG[anchor, place]]
        expected = sorted(others, key=lambda place: order(scores[place], truth))[:number]
        assert set(chosen_NG[anchor].nonzero()[:, 0].tolist()) == set(expected)


def test_what_just_begins_is_pushed_together_by_the_hardest_and_apart_by_the_semi_hard():
    """A weak hint at the truth grows under one and shrinks under the other: the mean score of what it is told from."""
    rng = torch.Generator().manual_seed(0)
    scores_NG = torch.randn(200, 200, generator=rng) + 0.3 * torch.eye(200)
    is_negative_NG, own_N = ~torch.eye(200, dtype=torch.bool), torch.arange(200)
    truth = scores_NG.diagonal().mean()
    assert scores_NG[hardest(scores_NG, is_negative_NG, own_N, 20)].mean() > truth + 1
    assert scores_NG[semi_hard(scores_NG, is_negative_NG, own_N, 20)].mean() < truth


DRAWS, TAU = Draws(0, 0, 0), 0.2
WINDOWS = [[3, 1, 4, 1], [5, 9], [9, 2, 6, 5, 3, 5], [8, 9, 1], [2, 7], [1, 8, 2]]


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=16, unit_items=True), table, 6).eval()


def slow_loss(encoder, view, num_hard=None):
    """Each target against the targets of the batch, one pair at a time."""
    states = F.normalize(encoder.states(view), dim=-1)
    targets, users = view.side[TARGETS].tolist(), view.labels[TARGET_USERS].tolist()
    items = F.normalize(encoder.items.inner(None), dim=-1)
    total = torch.zeros(())
    for own, target in enumerate(targets):
        others = [
            states[own] @ items[other] / TAU
            for place, other in enumerate(targets)
            if other != target and (num_hard is None or users[place] != users[own])
        ]
        if num_hard is not None:
            others = sorted(others, key=lambda score: -score.item())[:num_hard]
        scores = torch.stack([states[own] @ items[target] / TAU, *others])
        total = total - scores.log_softmax(0)[0]
    return total


@pytest.mark.parametrize("num_hard", [None, 3, 1000])
def test_the_loss_is_against_every_other_item_of_the_batch(encoder, num_hard):
    objective = Autoregressive(Cosine(InBatchSoftmax(num_hard), TAU))
    (view,) = objective.views(Batch.of(WINDOWS), DRAWS)
    torch.testing.assert_close(objective(encoder, [view]).sums_P[0], slow_loss(encoder, view, num_hard))


def test_targets_of_the_same_item_are_no_negatives(encoder):
    objective = Autoregressive(Cosine(InBatchSoftmax(None), TAU))
    views = objective.views(Batch.of([[1, 7], [2, 7], [3, 7]]), DRAWS)
    assert objective(encoder, views).sums_P.item() == 0
    views = objective.views(Batch.of([[1, 7], [2, 7], [3, 6]]), DRAWS)
    assert objective(encoder, views).sums_P.item() > 0


@pytest.mark.parametrize("num_hard", [None, 3])
def test_two_ranks_learn_what_one_learns_from_the_joint_batch(encoder, two_ranks, num_hard):
    objective = Autoregressive(Cosine(InBatchSoftmax(num_hard), TAU))
    users = np.array([0, 1, 2, 1, 4, 5])
    parts = [Batch.of(WINDOWS[a:b], users[a:b]) for a, b in ((0, 2), (2, 6))]
    (joint,) = torch.autograd.grad(
        objective(encoder, objective.views(Batch.of(WINDOWS, users), DRAWS)).sums_P[0], encoder.items.inner.weight
    )
    sums = two_ranks(objective, encoder, [objective.views(part, DRAWS) for part in parts])
    (shared,) = torch.autograd.grad(sums[0], encoder.items.inner.weight)
    torch.testing.assert_close(shared, joint)
    alone = sum(objective(encoder, objective.views(part, DRAWS)).sums_P[0] for part in parts)
    assert (num_hard is not None) or sums.item() > alone.item()


def test_a_filler_is_nobody_s_negative(encoder, two_ranks):
    objective = Autoregressive(Cosine(InBatchSoftmax(None), TAU))
    views = objective.views(Batch.of(WINDOWS), DRAWS)
    filler = objective.views(replace(Batch.of(WINDOWS[:1]), weight=0.0), DRAWS)
    torch.testing.assert_close(two_ranks(objective, encoder, [views, filler]), objective(encoder, views).sums_P)


def test_at_first_the_loss_is_about_the_log_of_the_batch(table):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=256, unit_items=True), table, 2)
    objective = Autoregressive(Cosine(InBatchSoftmax(None), 1.0))
    rng = np.random.default_rng(0)
    views = objective.views(Batch.of([list(rng.integers(0, 20, 2)) for _ in range(400)]), DRAWS)
    # A twentieth of the batch has the same target and is left out.
    assert objective(encoder, views).sums_P.item() / 400 == pytest.approx(np.log(400 * 0.95), rel=0.05)


def test_cosines_are_another_softmax_over_scaled_states(encoder):
    states, targets = torch.randn(5, 16), torch.tensor([3, 1, 4, 1, 5])
    found = Cosine(FullSoftmax(), TAU)(states, targets, encoder, Batch.of([[0]]))
    scores = F.cosine_similarity(states[:, None], encoder.items.inner(None)[None], dim=-1) / TAU
    torch.testing.assert_close(found, F.cross_entropy(scores, targets, reduction="sum"))
