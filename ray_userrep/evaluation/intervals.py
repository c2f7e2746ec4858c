"""How sure a mean over users is: bootstrap intervals, and paired comparisons of two systems on the same users.

Users are the unit: what one user does is not independent, what two do is taken to be.

Shapes: U users, R resamples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
