"""Intervals and tests over users and seeds: against the plain ones, and on planted differences."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from ray_userrep.evaluation.intervals import Interval, mean_interval
from ray_userrep.evaluation.measure import mean_of
from ray_userrep.evaluation.paired import Difference, estimate, paired
from ray_userrep.evaluation.paired import transfer_verdict as verdict

NUM_USERS = 200


mean_right = mean_of(lambda truth_U, predicted_U: truth_U == predicted_U)


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 2, NUM_USERS)


def right(truth, share, seed=0):
    wrong = np.random.default_rng(seed).random(len(truth)) >= share
    return np.where(wrong, 1 - truth, truth)


def test_of_one_seed_the_interval_is_that_over_users(truth):
    predicted = right(truth, 0.7)
    ours = estimate(mean_right, truth, [predicted], 2000, 0.95)
    plain = mean_interval((truth == predicted).astype(float), 2000, 0.95)
    assert ours.mean == pytest.approx(plain.mean)
    assert ours.low == pytest.approx(plain.low, abs=0.012) and ours.high == pytest.approx(plain.high, abs=0.012)


def test_seeds_that_differ_widen_the_interval(truth):
    alike = [right(truth, 0.7, seed=1)] * 4
    apart = [right(truth, share, seed=1) for share in (0.55, 0.65, 0.75, 0.85)]
    narrow, wide = (estimate(mean_right, truth, p, 500, 0.95) for p in (alike, apart))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_p_is_scipy_s(truth):
    a, b = right(truth, 0.75, 1), right(truth, 0.66, 2)
    ours = paired(mean_right, truth, [a], [b], 2000, 0.95)

    def statistic(x, y, axis):
        return np.mean(x, axis) - np.mean(y, axis)

    hits = [(truth == x).astype(float) for x in (a, b)]
    theirs = permutation_test(hits, statistic, permutation_type="samples", n_resamples=2000, rng=0)
    assert ours.mean == pytest.approx(hits[0].mean() - hits[1].mean())
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.03)


def test_a_planted_difference_is_found_and_none_is_not(truth):
    good, bad = ([right(truth, share, seed) for seed in (1, 2)] for share in (0.9, 0.6))
    found = paired(mean_right, truth, good, bad, 200, 0.95)
    assert found.low > 0.1 and found.p == pytest.approx(1 / 201)
    assert paired(mean_right, truth, bad, good, 200, 0.95).high < -0.1
    none = paired(mean_right, truth, good, good, 200, 0.95)
    assert none == Difference(0.0, 0.0, 0.0, 1.0)


def test_negative_transfer_is_called_so():
    scratch = Interval(0.7, 0.65, 0.75)
    below = Difference(-0.2, -0.25, -0.15, 0.005)
    assert verdict(Interval(0.5, 0.45, 0.6), scratch, below) == "negative transfer"
    assert verdict(Interval(0.64, 0.6, 0.68), scratch, below) == "worse than scratch, paired"
    assert verdict(Interval(0.9, 0.8, 0.95), scratch, Difference(0.2, 0.1, 0.3, 0.005)) == "better than scratch"
    assert verdict(Interval(0.71, 0.6, 0.8), scratch, Difference(0.01, -0.1, 0.1, 0.8)) == "no difference shown"
