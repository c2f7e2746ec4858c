"""How well users' labels are predicted: one figure over all users, the larger the better.

Shapes: U users, C classes, P users of a class, N others, R weightings of the users.
"""

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.measure import Figures, Measure, mean_of


def _auc(truth_U: NDArray[np.float64], probabilities_UC: NDArray[np.float64], weights_RU: Figures) -> Figures:
    weights_UR = np.ascontiguousarray(weights_RU.T)  # users are gathered below: each a row
    classes = range(probabilities_UC.shape[1])
    auc_CR = np.stack([_one_auc(truth_U == c, probabilities_UC[:, c], weights_UR) for c in classes])
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


def _r2(truth_U: NDArray[np.float64], predicted_U: NDArray[np.float64], weights_RU: Figures) -> Figures:
    total_R = weights_RU.sum(1)
    centred_U = truth_U - truth_U.mean()  # so that the difference of squares that follows loses no digits
    spread_R = weights_RU @ centred_U**2 - (weights_RU @ centred_U) ** 2 / total_R
    return 1 - weights_RU @ (truth_U - predicted_U) ** 2 / np.maximum(spread_R, 1e-12)


accuracy = mean_of(lambda truth_U, probabilities_UC: probabilities_UC.argmax(1) == truth_U)
"""Share of users whose likeliest class is theirs, from `[U]` and `[U, C]`."""

auc = Measure(_auc)
"""One class against the rest, averaged over the classes that occur (Hand & Till's macro form), `[U]` and `[U, C]`."""

r2 = Measure(_r2)
"""Share of the variance that is explained, from `[U]` twice; below 0 where the mean would do better."""
