"""How sure a difference between two arms is, over users and seeds.

Users and seeds are both resampled, so that an interval holds for other users and other seeds; arms are resampled
together, which takes out what makes a user hard for all of them. With few seeds the seeds' part is understated.

Shapes: S seeds, U users, R resamples, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.intervals import Interval
from ray_userrep.evaluation.measure import Figures, Measure, chunks, resamples

_PAIRED_SEED = 20_240_301


class Difference(NamedTuple):
    """A mean difference with its interval, and the p of the paired randomisation test."""

    mean: float
    low: float
    high: float
    p: float


Predictions = Sequence[NDArray[Any]]
"""What each seed predicted, `[U, ...]` each; one entry where a system knows no seeds."""


def estimate(
    measure: Measure, truth_U: NDArray[Any], predicted_S: Predictions, num: int, confidence: float
) -> Interval:
    """The measure, averaged over seeds, with its percentile interval."""
    return _interval(_mean(measure, truth_U, predicted_S), _drawn(measure, truth_U, predicted_S, num), confidence)


def paired(
    measure: Measure, truth_U: NDArray[Any], a_S: Predictions, b_S: Predictions, num: int, confidence: float
) -> Difference:
    """The measure of a minus that of b over the same users and seeds, and how likely chance alone is.

    Under the null hypothesis the two predictions of a user could change places: p is how often that gives as large a
    difference (Edgington & Onghena 2007, chapter 5).
    """
    difference = _mean(measure, truth_U, a_S) - _mean(measure, truth_U, b_S)
    drawn_R = _drawn(measure, truth_U, a_S, num) - _drawn(measure, truth_U, b_S, num)
    by_chance_R = _swapped(measure, truth_U, a_S, b_S, num)
    extreme = int((abs(by_chance_R) >= abs(difference) - 1e-12).sum())
    return Difference(*_interval(difference, drawn_R, confidence), p=(extreme + 1) / (num + 1))


def transfer_verdict(arm: Interval, scratch: Interval, difference: Difference) -> str:
    """What a pretrained arm's figures say beside those from scratch."""
    if arm.high < scratch.low:
        return "negative transfer"
    if difference.high < 0:
        return "worse than scratch, paired"
    if difference.low > 0:
        return "better than scratch"
    return "no difference shown"


def _mean(measure: Measure, truth_U: NDArray[Any], predicted_S: Predictions) -> float:
    return float(np.mean([measure(truth_U, predicted_U) for predicted_U in predicted_S]))


def _drawn(measure: Measure, truth_U: NDArray[Any], predicted_S: Predictions, num: int) -> Figures:
    """The measure over resampled users and seeds, `[R]`; the same resamples for every system."""
    rng, num_seeds, found_R = np.random.default_rng(_PAIRED_SEED), len(predicted_S), np.zeros(num)
    shares_RS = (rng.integers(0, num_seeds, (num, num_seeds, 1)) == np.arange(num_seeds)).mean(1)
    for rows, weights_RU in resamples(rng, len(truth_U), num):
        for seed, predicted_U in enumerate(predicted_S):
            found_R[rows] += shares_RS[rows, seed] * measure.weighted(truth_U, predicted_U, weights_RU)
    return found_R


def _swapped(measure: Measure, truth_U: NDArray[Any], a_S: Predictions, b_S: Predictions, num: int) -> Figures:
    """The difference where users' two predictions change places at random, `[R]`.

    Both are given for every user, and weights take one of them.
    """
    rng, found_R, truth_V = np.random.default_rng(_PAIRED_SEED), np.zeros(num), np.concatenate([truth_U, truth_U])
    for rows in chunks(len(truth_V), num):
        is_own_RU = rng.random((rows.stop - rows.start, len(truth_U))) < 0.5
        weights_RV = np.concatenate([is_own_RU, ~is_own_RU], axis=1).astype(np.float64)
        for a, b in zip(a_S, b_S, strict=True):
            both_V = np.concatenate([a, b])
            ours, theirs = (measure.weighted(truth_V, both_V, weights) for weights in (weights_RV, 1 - weights_RV))
            found_R[rows] += (ours - theirs) / len(a_S)
    return found_R


def _interval(mean: float, drawn_R: NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.quantile(drawn_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(mean), float(low), float(high))
