"""Which negatives are chosen, against a list that is sorted one anchor at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.objectives.hard import hardest, semi_hard

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
