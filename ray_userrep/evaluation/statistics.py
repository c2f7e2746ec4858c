"""How sure figures and differences are: bootstrap intervals, paired tests, and the tables printed of them.

Users are the unit: what one user does is not independent, what two do is taken to be. Where a system was trained
several times, users and seeds are both resampled, so that an interval holds for other users and other seeds; systems
are resampled together, which takes out what makes a user hard for all of them. With few seeds the seeds' part is
understated.

Shapes: S seeds, U users, W targets (`users_W` says whose they are where a user has several), R resamples, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.metrics import Figures, Measure, chunks, ndcg, per_user, resamples, user_means
from ray_userrep.recipe.evaluation import EvaluationConfig

_SEED = 20_240_229
_CHUNK_DRAWS = 2**22


class Interval(NamedTuple):
    """A mean with its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def mean_interval(values_U: NDArray[np.float64], num_bootstrap: int, confidence: float) -> Interval:
    """The mean over users with its percentile interval (Efron & Tibshirani 1993, chapter 13)."""
    if not len(values_U):
        return Interval(float("nan"), float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    low, high = np.quantile(_resampled_means(values_U, num_bootstrap), [tail, 1 - tail])
    return Interval(float(values_U.mean()), float(low), float(high))


def paired_difference(
    a_U: NDArray[np.float64], b_U: NDArray[np.float64], num_bootstrap: int, confidence: float
) -> Interval:
    """The mean of a − b over the same users; both are resampled together."""
    return mean_interval(a_U - b_U, num_bootstrap, confidence)


def paired_p_value(a_U: NDArray[np.float64], b_U: NDArray[np.float64], num_permutations: int) -> float:
    """Two-sided p of the paired randomisation test: how often random signs give as large a mean difference."""
    difference_U = a_U - b_U
    difference_U = difference_U[difference_U != 0]
    observed = abs(difference_U.sum())
    rng, extreme, done = np.random.default_rng(_SEED), 0, 0
    chunk = max(1, _CHUNK_DRAWS // max(1, len(difference_U)))
    while done < num_permutations:
        count = min(chunk, num_permutations - done)
        signs_RU = rng.integers(0, 2, (count, len(difference_U)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs_RU @ difference_U) >= observed - 1e-12).sum())
        done += count
    return (extreme + 1) / (num_permutations + 1)


def _resampled_means(values_U: NDArray[np.float64], num_bootstrap: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(_SEED)
    chunk = max(1, _CHUNK_DRAWS // len(values_U))
    means = []
    for first in range(0, num_bootstrap, chunk):
        rows = min(chunk, num_bootstrap - first)
        means.append(values_U[rng.integers(0, len(values_U), (rows, len(values_U)))].mean(1))
    return np.concatenate(means)


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


def transfer_verdict(arm: Interval, scratch: Interval, difference: Difference, sign: int = 1) -> str:
    """What a pretrained arm's figures say beside those from scratch; `sign` is -1 where smaller ones are better."""
    if arm.high < scratch.low if sign > 0 else arm.low > scratch.high:
        return "negative transfer"
    low, high = sorted((sign * difference.low, sign * difference.high))
    if high < 0:
        return "worse than scratch"
    if low > 0:
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


HEADLINE = "ndcg@10"


def summary(
    ranks_W: NDArray[np.int64], config: EvaluationConfig, users_W: NDArray[np.int64] | None = None
) -> dict[str, dict[str, float]]:
    """Each metric with its interval over users: `{"ndcg@10": {"mean", "low", "high"}, …}`."""
    metrics = per_user(ranks_W, config.ks, users_W)
    return {name: mean_interval(v, config.num_bootstrap, config.confidence)._asdict() for name, v in metrics.items()}


def comparison(
    ours_W: NDArray[np.int64],
    theirs_W: NDArray[np.int64],
    config: EvaluationConfig,
    users_W: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """NDCG@10 of ours minus theirs over the same users: paired interval and p of the randomisation test."""
    a_U, b_U = (user_means(ndcg(ranks_W, 10), users_W) for ranks_W in (ours_W, theirs_W))
    difference = paired_difference(a_U, b_U, config.num_bootstrap, config.confidence)
    return {**difference._asdict(), "p": paired_p_value(a_U, b_U, config.num_bootstrap)}


def format_table(rows: Mapping[str, dict[str, dict[str, float]]], names: list[str]) -> str:
    """An aligned text table: one row a system, each metric with its interval."""
    header = ["", *names]
    body = [[system, *(_cell(metrics[name]) for name in names)] for system, metrics in rows.items()]
    widths = [max(len(line[column]) for line in [header, *body]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *body]]
    return "\n".join(line.rstrip() for line in lines)


def _cell(metric: dict[str, float]) -> str:
    return f"{metric['mean']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"
