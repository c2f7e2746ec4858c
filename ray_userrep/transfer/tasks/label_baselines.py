"""What a task's arms must beat: the commonest label, and boosted trees on item counts or on when a user came.

Trees see the commonest items only, since they bin every column; how many of them there are, and the number of rounds,
are chosen on validation.

Shapes: U users, C classes, F features.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.metrics import auc, r2

_ITEMS = 512
_DAY = 86_400 * 10**6
_LEAVES, _ROUNDS, _STRIDE = (4, 16), 60, 5


def majority(labels_U: NDArray[np.float64], num_classes: int, num_users: int) -> NDArray[np.float64]:
    """The training labels' shares for every user, `[U, C]`, or their mean, `[U]`."""
    if not num_classes:
        return np.full(num_users, labels_U.mean())
    shares_C = np.bincount(labels_U.astype(int), minlength=num_classes) / len(labels_U)
    return np.tile(shares_C, (num_users, 1))


def trees(
    x_UF: NDArray[np.float32], labels_U: NDArray[np.float64], bounds: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """What boosted trees predict of the last users: class probabilities, `[U, C]`, or values, `[U]`.

    `bounds` say where training ends and validation ends; `labels_U` are those of both. Trees with few rounds and
    leaves are tried before those with many, and the first best on validation is kept (Friedman 2001).
    """
    fit, tune, test = x_UF[: bounds[0]], x_UF[bounds[0] : bounds[1]], x_UF[bounds[1] :]
    truth_U = labels_U[bounds[0] :]
    score = auc if num_classes else r2
    best, kept = -np.inf, np.zeros(0)
    for leaves in _LEAVES:
        model = _model(num_classes, leaves).fit(fit, labels_U[: bounds[0]])
        stages = zip(_staged(model, tune, num_classes), _staged(model, test, num_classes), strict=True)
        for tuned, tested in list(stages)[_STRIDE - 1 :: _STRIDE]:
            if (value := score(truth_U, tuned)) > best:
                best, kept = value, tested
    return kept


def item_counts(histories: Sequences, num_items: int, num_fit: int) -> NDArray[np.float32]:
    """Log counts of the items that are commonest among the first `num_fit` users, and of all, `[U, F]`."""
    ones = np.ones(len(histories.items_N), np.float32)
    counts = csr_matrix((ones, histories.items_N, histories.offsets_U1), shape=(histories.num_users, num_items))
    counts.sum_duplicates()
    commonest = np.argsort(-np.asarray(counts[:num_fit].sum(0))[0], kind="stable")[:_ITEMS]
    columns = [np.log1p(counts[:, commonest].toarray()), np.log1p(histories.lengths_U)[:, None]]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def recency_and_frequency(histories: Sequences, cut: int) -> NDArray[np.float32]:
    """Log days since the newest and the oldest interaction before a cut (us), and log of how many there are, `[U, 3]`.

    What predicts a return by itself (Fader, Hardie & Lee 2005); every user has a history.
    """
    first, last = histories.offsets_U1[:-1], histories.offsets_U1[1:] - 1
    days = [np.log1p((cut - histories.times_N[place]) / _DAY) for place in (last, first)]
    return np.stack([*days, np.log1p(histories.lengths_U)], axis=1).astype(np.float32)


def _model(num_classes: int, leaves: int) -> Any:
    kind = HistGradientBoostingClassifier if num_classes else HistGradientBoostingRegressor
    return kind(max_iter=_ROUNDS, max_leaf_nodes=leaves, min_samples_leaf=5, early_stopping=False, random_state=0)


def _staged(model: Any, x_UF: NDArray[np.float32], num_classes: int) -> Iterator[NDArray[np.float64]]:
    """Predictions after each round; classes that training lacks get nothing."""
    if not num_classes:
        yield from model.staged_predict(x_UF)
        return
    for found_UC in model.staged_predict_proba(x_UF):
        probabilities_UC = np.zeros((len(x_UF), num_classes))
        probabilities_UC[:, model.classes_.astype(int)] = found_UC
        yield probabilities_UC
