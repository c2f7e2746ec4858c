"""Scores that mean what they say: of those who are given 30 %, three in ten should have the label.

Probabilities are brought to another temperature, chosen on validation (Guo et al., ICML 2017): one number for classes,
one for each of several labels. That mends heads that are too sure or not sure enough and leaves every order as it is,
AUC with it; what is wrong beyond that, such as a head that finds everybody too likely, stays. Test users only judge.

Shapes: U users, C classes or labels, K bins.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from ray_userrep.objectives.head import Kind

Table = NDArray[np.float64]
_LEAST = 1e-7  # a probability of nothing at all would cost without end
_LOG_RANGE = (-3.0, 3.0)  # of temperatures: from a twentieth to twenty
_NUM_BINS = 10


def tempered(kind: Kind, scores: Table, temperatures_T: Table) -> Table:
    """Probabilities at one temperature of all classes, or at one of each label, `[U, C]`; values as they are."""
    if kind == "value":
        return scores
    bounded_UC = scores.clip(_LEAST, 1 - _LEAST)
    if kind == "classes":
        return np.asarray(softmax(np.log(bounded_UC) / temperatures_T, axis=1))
    return np.asarray(expit(logit(bounded_UC) / temperatures_T))


def fit_temperatures(kind: Kind, truth: Table, scores: Table) -> Table:
    """The temperatures under which what is true is likeliest, `[T]`: one of classes, one a label, none of values."""
    if kind == "value":
        return np.zeros(0)
    if kind == "classes":
        return np.array([_likeliest(kind, truth, scores)])
    columns = zip(truth.T[..., None], scores.T[..., None], strict=True)
    return np.array([_likeliest(kind, truth_U1, scores_U1) for truth_U1, scores_U1 in columns])


def _likeliest(kind: Kind, truth: Table, scores: Table) -> float:
    is_true_UC = one_hot(kind, truth, scores.shape[1])

    def loss(log_temperature: float) -> float:
        found_UC = tempered(kind, scores, np.exp([log_temperature])).clip(_LEAST, 1 - _LEAST)
        against_UC = 0.0 if kind == "classes" else (1 - is_true_UC) * np.log1p(-found_UC)
        return -float((is_true_UC * np.log(found_UC) + against_UC).sum())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def one_hot(kind: Kind, truth: Table, num_classes: int) -> Table:
    """Which classes or labels each user has, `[U, C]`."""
    return truth if kind == "several" else (truth[:, None] == np.arange(num_classes)).astype(np.float64)


def brier(kind: Kind, truth: Table, scores_UC: Table) -> float:
    """The mean squared error of probabilities (Brier 1950): of the second of two classes, or summed over more.

    Labels of which a user may have several are averaged over.
    """
    errors_UC = (scores_UC - one_hot(kind, truth, scores_UC.shape[1])) ** 2
    is_summed = kind == "classes" and scores_UC.shape[1] > 2
    return float(errors_UC.sum(1).mean() if is_summed else errors_UC.mean())


def reliability(kind: Kind, truth: Table, scores_UC: Table) -> list[dict[str, float]]:
    """For bins of equal width with anybody in them: the mean probability, the share that has it, and how many.

    Of two classes the second one counts, of more each one; users count once for each.
    """
    is_true_UC = one_hot(kind, truth, scores_UC.shape[1])
    if kind == "classes" and scores_UC.shape[1] == 2:
        is_true_UC, scores_UC = is_true_UC[:, 1:], scores_UC[:, 1:]
    told, true = scores_UC.ravel(), is_true_UC.ravel()
    bins = np.minimum((told * _NUM_BINS).astype(int), _NUM_BINS - 1)
    count_K, told_K, true_K = (np.bincount(bins, weights, _NUM_BINS) for weights in (None, told, true))
    return [
        {"told": float(told_K[k] / count_K[k]), "true": float(true_K[k] / count_K[k]), "count": int(count_K[k])}
        for k in np.flatnonzero(count_K)
    ]


def calibration_figures(kind: Kind, truth: Table, before: Table, after: Table) -> dict[str, Any]:
    """Brier score and reliability of these users before and after, as `result.json` holds them."""
    both = {"before": before, "after": after}
    return {
        "brier": {name: brier(kind, truth, scores_UC) for name, scores_UC in both.items()},
        "reliability": {name: reliability(kind, truth, scores_UC) for name, scores_UC in both.items()},
    }
