"""How well users' labels are predicted: one figure over all users, the larger the better.

Shapes: U users, C classes, P users of a class, N others, R weightings of the users.
"""

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.measure import Figures, Measure, mean_of


def _auc(truth_U: NDArray[np.float64], probabilities_UC: NDArray[np.float64], weights_RU: Figures) -> Figures:
    num_classes = probabilities_UC.shape[1]
    of_class = [_one_auc(truth_U == c, probabilities_UC[:, c], weights_RU) for c in range(num_classes)]
    auc_RC = np.stack(of_class, axis=1)
    there_RC = ~np.isnan(auc_RC)
    mean_R = np.where(there_RC, auc_RC, 0.0).sum(1) / np.maximum(1, there_RC.sum(1))
    return np.where(there_RC.any(1), mean_R, 0.5)


def _one_auc(is_class_U: NDArray[np.bool_], scores_U: NDArray[np.float64], weights_RU: Figures) -> Figures:
    """The share of pairs in which the one of the class is above, equal scores counting half; nan without pairs."""
    scores_N = scores_U[~is_class_U]
    order_N = np.argsort(scores_N)
    weights_RN, weights_RP = weights_RU[:, ~is_class_U][:, order_N], weights_RU[:, is_class_U]
    below_RN = np.concatenate([np.zeros((len(weights_RU), 1)), weights_RN.cumsum(1)], axis=1)
    scores_N = scores_N[order_N]
    low_P, high_P = (np.searchsorted(scores_N, scores_U[is_class_U], side) for side in ("left", "right"))
    above_R = (weights_RP * (below_RN[:, low_P] + below_RN[:, high_P])).sum(1) / 2
    pairs_R = weights_RP.sum(1) * weights_RN.sum(1)
    return np.divide(above_R, pairs_R, out=np.full(len(pairs_R), np.nan), where=pairs_R > 0)


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
