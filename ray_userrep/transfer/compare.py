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
from ray_userrep.transfer.tasks.base import Measure

_SEED = 20_240_301


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
    rng, extreme = np.random.default_rng(_SEED), 0
    pairs = list(zip(a_S, b_S, strict=True))
    for _ in range(num):
        swapped_U = rng.random(len(truth_U)) < 0.5
        mixed = [(_swap(a, b, swapped_U), _swap(b, a, swapped_U)) for a, b in pairs]
        by_chance = np.mean([measure(truth_U, a) - measure(truth_U, b) for a, b in mixed])
        extreme += bool(abs(by_chance) >= abs(difference) - 1e-12)
    return Difference(*_interval(difference, drawn_R, confidence), p=(extreme + 1) / (num + 1))


def verdict(arm: Interval, scratch: Interval, difference: Difference) -> str:
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


def _drawn(measure: Measure, truth_U: NDArray[Any], predicted_S: Predictions, num: int) -> NDArray[np.float64]:
    """The measure over resampled users and seeds, `[R]`; the same resamples for every system."""
    rng, found = np.random.default_rng(_SEED), np.zeros(num)
    for place in range(num):
        users = rng.integers(0, len(truth_U), len(truth_U))
        seeds = rng.integers(0, len(predicted_S), len(predicted_S))
        values = {s: measure(truth_U[users], predicted_S[s][users]) for s in set(seeds.tolist())}
        found[place] = np.mean([values[s] for s in seeds.tolist()])
    return found


def _swap(a: NDArray[Any], b: NDArray[Any], swapped_U: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(swapped_U.reshape(-1, *(1,) * (a.ndim - 1)), b, a)


def _interval(mean: float, drawn_R: NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.quantile(drawn_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(mean), float(low), float(high))
