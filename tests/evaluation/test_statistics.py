"""Intervals and tests against scipy, against permutations written out, and how often they hold; the printed table."""

import json

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.stats import permutation_test

from ray_userrep.evaluation.metrics import mean_of, ndcg
from ray_userrep.evaluation.statistics import (
    Difference,
    Interval,
    comparison,
    estimate,
    format_table,
    mean_interval,
    paired,
    paired_difference,
    paired_p_value,
    summary,
)
from ray_userrep.evaluation.statistics import transfer_verdict as verdict
from ray_userrep.recipe.evaluation import EvaluationConfig


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
    assert verdict(Interval(0.64, 0.6, 0.68), scratch, below) == "worse than scratch"
    assert verdict(Interval(0.9, 0.8, 0.95), scratch, Difference(0.2, 0.1, 0.3, 0.005)) == "better than scratch"
    assert verdict(Interval(0.71, 0.6, 0.8), scratch, Difference(0.01, -0.1, 0.1, 0.8)) == "no difference shown"


def test_the_verdict_on_errors_is_that_on_their_negatives():
    rng = np.random.default_rng(3)
    for _ in range(200):
        arm, scratch, difference = (np.sort(rng.normal(size=3).round(1)) for _ in range(3))
        gains = [Interval(mean, low, high) for low, mean, high in (arm, scratch, difference)]
        errors = [Interval(-mean, -high, -low) for mean, low, high in gains]
        assert verdict(*gains[:2], Difference(*gains[2], 0.5)) == verdict(
            *errors[:2], Difference(*errors[2], 0.5), sign=-1
        )


CONFIG = EvaluationConfig(ks=(1, 5), num_bootstrap=200)


def test_a_summary_holds_every_metric_with_its_interval():
    ranks = np.random.default_rng(0).integers(1, 30, 200)
    figures = summary(ranks, CONFIG)
    assert set(figures) == {f"{name}@{k}" for name in ("hr", "ndcg", "mrr") for k in (1, 5, 10)}
    assert figures["hr@5"]["mean"] == pytest.approx((ranks <= 5).mean())
    assert all(f["low"] <= f["mean"] <= f["high"] for f in figures.values())
    assert json.loads(json.dumps(figures)) == figures == summary(ranks, CONFIG)


def test_a_comparison_is_ours_minus_theirs():
    rng = np.random.default_rng(0)
    theirs = rng.integers(1, 30, 300)
    ours = np.maximum(theirs - rng.integers(0, 3, 300), 1)
    figures = comparison(ours, theirs, CONFIG)
    assert figures["mean"] == pytest.approx((ndcg(ours, 10) - ndcg(theirs, 10)).mean())
    assert 0 < figures["low"] < figures["high"] and figures["p"] < 0.05
    assert comparison(theirs, ours, CONFIG)["mean"] == pytest.approx(-figures["mean"])


def test_the_table_is_aligned():
    figures = {"ndcg@10": {"mean": 0.1, "low": 0.05, "high": 0.15}, "hr@10": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    header, *rows = format_table({"popularity": figures, "ours": figures}, ["ndcg@10", "hr@10"]).splitlines()
    assert rows[1] == "ours        0.1000 [0.0500, 0.1500]  0.2000 [0.1000, 0.3000]"
    assert {line.index("0.2000") for line in rows} == {header.index("hr@10")}


@pytest.mark.parametrize("wrong", [{"ks": (0,)}, {"num_bootstrap": 1}, {"confidence": 1.0}, {"sampled": 100}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvaluationConfig.model_validate(wrong)


def test_a_user_with_several_targets_counts_once():
    ranks, users = np.array([1, 30, 2, 1, 50]), np.array([7, 7, 3, 7, 3])
    once = summary(ranks, EvaluationConfig(num_bootstrap=100), users)
    assert once["hr@10"]["mean"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert once["hr@10"]["low"] >= 1 / 2 and once["hr@10"]["high"] <= 2 / 3
    found = comparison(ranks, ranks[::-1], EvaluationConfig(num_bootstrap=100), users)
    assert found["mean"] == pytest.approx((1 / 3 - 1 / 2) / 2)  # one more hit of three, one less of two
