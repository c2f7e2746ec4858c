"""A figure over users, of one weighting of them or of many: what intervals and paired tests are made of.

A resample of users is a weight for each. What sorts or compares users does so once for all resamples, at the price of a
matrix of them in memory, which callers take in chunks.

Shapes: U users, R weightings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
_CHUNK = 2**19  # weights at once: what is made of them stays near the core


@dataclass(frozen=True)
class Measure:
    """From the truth and what was predicted, users first, to a figure that is larger where it is better.

    `weighted` takes weights `[R, U]` as well and has a figure for each row.
    """

    weighted: Callable[[NDArray[Any], NDArray[Any], Figures], Figures]

    def __call__(self, truth_U: NDArray[Any], predicted_U: NDArray[Any]) -> float:
        """The figure where every user counts once."""
        return float(self.weighted(truth_U, predicted_U, np.ones((1, len(predicted_U))))[0])


def mean_of(values: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]) -> Measure:
    """The mean of what each user has by himself."""
    return Measure(lambda truth, predicted, weights: weights @ values(truth, predicted) / weights.sum(1))


def resamples(rng: np.random.Generator, num_users: int, num: int) -> Iterator[tuple[slice, Figures]]:
    """How often each user is drawn, of as many as there are with replacement: rows of all, and the weights of those."""
    for rows in chunks(num_users, num):
        count = rows.stop - rows.start
        drawn_RU = rng.integers(0, num_users, (count, num_users)) + num_users * np.arange(count)[:, None]
        weights = np.bincount(drawn_RU.ravel(), minlength=count * num_users)
        yield rows, weights.reshape(count, num_users).astype(np.float64)


def chunks(num_users: int, num: int) -> Iterator[slice]:
    """Rows of weights that are held at once."""
    most = max(1, _CHUNK // max(1, num_users))
    for first in range(0, num, most):
        yield slice(first, min(first + most, num))
