"""Intervals and tests against scipy, and against how often they should hold."""

import numpy as np
import pytest
from scipy import stats

from ray_userrep.evaluation.intervals import mean_interval, paired_difference, paired_p_value


def test_intervals_are_scipy_s():
    rng = np.random.default_rng(0)
    values, other = rng.exponential(size=300), rng.exponential(size=300)
    ours = mean_interval(values, 4000, 0.95)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    difference = paired_difference(values, other, 4000, 0.95)
    paired = stats.bootstrap(
        (values, other),
        lambda a, b, axis: (a - b).mean(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert (difference.low, difference.high) == pytest.approx((paired.low, paired.high), abs=0.02)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    samples = rng.binomial(1, 0.3, (300, 200)).astype(float)
    covered = [low <= 0.3 <= high for _, low, high in (mean_interval(s, 300, 0.95) for s in samples)]
    assert 0.9 <= np.mean(covered) <= 0.99


def test_the_p_value_is_scipy_s_permutation_test():
    rng = np.random.default_rng(2)
    a = rng.normal(size=60)
    b = a + rng.normal(0.15, 0.5, size=60)
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", n_resamples=5000, rng=3
    ).pvalue
    assert paired_p_value(a, b, 5000) == pytest.approx(theirs, abs=0.02)


def test_equal_systems_are_not_told_apart():
    same = np.ones(50)
    assert paired_p_value(same, same, 100) == 1.0
    assert tuple(paired_difference(same, same, 100, 0.95)) == (0.0, 0.0, 0.0)
