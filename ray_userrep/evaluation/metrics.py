"""Metrics: of rankings with one relevant item, an array over users; of labels, one figure over all users.

A user with several targets counts once, with the mean over them: users are what intervals are made of. A resample of
users is a weight for each. What sorts or compares users does so once for all resamples, at the price of a matrix of
weights in memory, which callers take in chunks.

Shapes: U users, W targets, C classes, K values of a user, P users of a class, N others, R weightings of the users.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
_CHUNK = 2**19  # weights at once: what is made of them stays near the core


@dataclass(frozen=True)
class Measure:
    """From the truth and what was predicted, users first, to a figure.

    `weighted` takes weights `[R, U]` as well and has a figure for each row; `sign` is -1 where smaller figures are
    better, so that of two the one whose product with it is larger is to be chosen.
    """

    weighted: Callable[[NDArray[Any], NDArray[Any], Figures], Figures]
    sign: Literal[1, -1] = 1

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


def hit_rate(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 where the target is among the first k."""
    return (ranks_U <= k).astype(np.float64)


def ndcg(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(rank + 1) where the target is among the first k (Järvelin & Kekäläinen 2002, one relevant item)."""
    return np.where(ranks_U <= k, 1 / np.log2(ranks_U + 1), 0.0)


def mrr(ranks_U: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / rank where the target is among the first k."""
    return np.where(ranks_U <= k, 1 / ranks_U, 0.0)


def per_user(
    ranks_W: NDArray[np.int64], ks: Sequence[int], users_W: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """All metrics at all cut-offs, named as `ndcg@10`; without users every target is a user of its own."""
    families = {"hr": hit_rate, "ndcg": ndcg, "mrr": mrr}
    return {
        f"{name}@{k}": user_means(metric(ranks_W, k), users_W)
        for k in sorted({10, *ks})
        for name, metric in families.items()
    }


def user_means(values_W: NDArray[np.float64], users_W: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """The mean over each user's targets, `[U]`, users in the order of their first target."""
    if users_W is None:
        return values_W
    _, first, user_W = np.unique(users_W, return_index=True, return_inverse=True)
    means = np.bincount(user_W, values_W) / np.bincount(user_W)
    return means[np.argsort(first)]


def _auc(truth_U: NDArray[np.float64], probabilities_UC: NDArray[np.float64], weights_RU: Figures) -> Figures:
    return _several_auc(truth_U[:, None] == np.arange(probabilities_UC.shape[1]), probabilities_UC, weights_RU)


def _several_auc(truth_UC: NDArray[Any], scores_UC: NDArray[np.float64], weights_RU: Figures) -> Figures:
    weights_UR = np.ascontiguousarray(weights_RU.T)  # users are gathered below: each a row
    auc_CR = np.stack([_one_auc(is_U > 0, s_U, weights_UR) for is_U, s_U in zip(truth_UC.T, scores_UC.T, strict=True)])
    there_CR = ~np.isnan(auc_CR)
    mean_R = np.where(there_CR, auc_CR, 0.0).sum(0) / np.maximum(1, there_CR.sum(0))
    return np.where(there_CR.any(0), mean_R, 0.5)


def _one_auc(is_class_U: NDArray[np.bool_], scores_U: NDArray[np.float64], weights_UR: Figures) -> Figures:
    """The share of pairs in which the one of the class is above, equal scores counting half; nan without pairs."""
    users_P = np.flatnonzero(is_class_U)
    users_P = users_P[np.argsort(scores_U[users_P])]
    scores_P = scores_U[users_P]
    upto_PR = np.zeros((len(scores_P) + 1, weights_UR.shape[1]))
    np.cumsum(weights_UR[users_P], axis=0, out=upto_PR[1:])
    low_N, high_N = (np.searchsorted(scores_P, scores_U[~is_class_U], side) for side in ("left", "right"))
    weights_NR = weights_UR[~is_class_U]
    below_R = np.einsum("nr,nr->r", weights_NR, upto_PR[low_N] + upto_PR[high_N]) / 2
    pairs_R = upto_PR[-1] * weights_NR.sum(0)
    return 1 - np.divide(below_R, pairs_R, out=np.full(len(pairs_R), np.nan), where=pairs_R > 0)


def _mae(truth_U: NDArray[np.float64], predicted_U: NDArray[np.float64], weights_RU: Figures) -> Figures:
    return weights_RU @ abs(truth_U - predicted_U) / weights_RU.sum(1)


def _rmse(truth_U: NDArray[np.float64], predicted_U: NDArray[np.float64], weights_RU: Figures) -> Figures:
    return np.sqrt(weights_RU @ (truth_U - predicted_U) ** 2 / weights_RU.sum(1))


def _r2(truth_U: NDArray[np.float64], predicted_U: NDArray[np.float64], weights_RU: Figures) -> Figures:
    total_R = weights_RU.sum(1)
    truth_UK, predicted_UK = (values.reshape(len(values), -1) for values in (truth_U, predicted_U))
    centred_UK = truth_UK - truth_UK.mean(0)  # so that the difference of squares that follows loses no digits
    spread_R = weights_RU @ (centred_UK**2).sum(1) - ((weights_RU @ centred_UK) ** 2).sum(1) / total_R
    return 1 - weights_RU @ ((truth_UK - predicted_UK) ** 2).sum(1) / np.maximum(spread_R, 1e-12)


accuracy = mean_of(lambda truth_U, probabilities_UC: probabilities_UC.argmax(1) == truth_U)
"""Share of users whose likeliest class is theirs, from `[U]` and `[U, C]`."""

auc = Measure(_auc)
"""One class against the rest, averaged over the classes that occur (Hand & Till's macro form), `[U]` and `[U, C]`."""

several_auc = Measure(_several_auc)
"""The mean over labels, of which a user may have several, that some have and some have not, `[U, C]` twice."""

r2 = Measure(_r2)
"""Share of the variance that is explained, from `[U]` twice, or `[U, K]`; below 0 where the mean would do better."""

mae = Measure(_mae, sign=-1)
"""The mean absolute error, from `[U]` twice."""

rmse = Measure(_rmse, sign=-1)
"""The root of the mean squared error, from `[U]` twice."""
