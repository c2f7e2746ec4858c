"""How well users' labels are predicted: one figure over all users, the larger the better.

Shapes: U users, C classes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def accuracy(truth_U: NDArray[np.float64], probabilities_UC: NDArray[np.float64]) -> float:
    """Share of users whose likeliest class is theirs."""
    return float((probabilities_UC.argmax(1) == truth_U).mean())


def auc(truth_U: NDArray[np.float64], probabilities_UC: NDArray[np.float64]) -> float:
    """One class against the rest, averaged over the classes that occur (Hand & Till's macro form)."""
    ranks_UC = rankdata(probabilities_UC, axis=0)
    is_class_UC = truth_U[:, None] == np.arange(probabilities_UC.shape[1])
    positives_C = is_class_UC.sum(0)
    negatives_C = len(truth_U) - positives_C
    there = (positives_C > 0) & (negatives_C > 0)
    above_C = (ranks_UC * is_class_UC).sum(0) - positives_C * (positives_C + 1) / 2
    return float((above_C[there] / (positives_C * negatives_C)[there]).mean()) if there.any() else 0.5


def r2(truth_U: NDArray[np.float64], predicted_U: NDArray[np.float64]) -> float:
    """Share of the variance that is explained; below 0 where the mean would do better."""
    spread = float(((truth_U - truth_U.mean()) ** 2).sum())
    return 1 - float(((truth_U - predicted_U) ** 2).sum()) / max(spread, 1e-12)
