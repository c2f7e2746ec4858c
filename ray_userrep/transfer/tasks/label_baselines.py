"""What a task's arms must beat: the commonest label, linear models of item counts, boosted trees of what else is known.

Everything reads whole histories. Linear models see all items by tf-idf, or their leading singular vectors. Trees see
the commonest items only, since they bin every column, recency, frequency and tempo alone or beside those vectors, or
beside the other columns of the users' table. Penalties and numbers of rounds are chosen on validation. Of
labels of which a user may have several, each gets models of its own, which takes as many times as long.

Shapes: U users, C classes or labels, F features.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.metrics import auc, r2
from ray_userrep.evaluation.probe import linear_probe
from ray_userrep.evaluation.simple_vectors import item_counts, svd, tf_idf
from ray_userrep.transfer.tasks.columns import UserColumns

_ITEMS, _SVD, _SVD_BESIDE = 512, 128, 64
OWN = "boosted trees on own columns and tempo"
_LEAVES, _ROUNDS, _STRIDE = (4, 16), 60, 5


def majority(labels_U: NDArray[np.float64], num_classes: int, num_users: int) -> NDArray[np.float64]:
    """The training labels' shares for every user, `[U, C]`, or their mean, `[U]`."""
    if labels_U.ndim == 2:
        return np.tile(labels_U.mean(0), (num_users, 1))
    if not num_classes:
        return np.full(num_users, labels_U.mean())
    shares_C = np.bincount(labels_U.astype(int), minlength=num_classes) / len(labels_U)
    return np.tile(shares_C, (num_users, 1))


def each_label(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]], labels_UC: NDArray[np.float64], num_fit: int
) -> NDArray[np.float64]:
    """What models of their own say of each label, `[U, C]`; `predict` takes a label and gives both its classes.

    A label that all of the first `num_fit` users have, or none, is as likely as there for everybody.
    """
    has_both_C = [0 < labels_U[:num_fit].sum() < num_fit for labels_U in labels_UC.T]
    told = {int(c): predict(labels_UC[:, c])[:, 1] for c in np.flatnonzero(has_both_C)}
    num_users = len(next(iter(told.values())))  # the task has refused labels that are all alike
    return np.column_stack([told.get(c, np.full(num_users, labels_UC[0, c])) for c in range(labels_UC.shape[1])])


def trees(
    x_UF: NDArray[np.floating],
    labels_U: NDArray[np.float64],
    bounds: NDArray[np.int64],
    num_classes: int,
    is_class_F: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """What boosted trees predict of the last users: class probabilities, `[U, C]`, or values, `[U]`.

    `bounds` say where training ends and validation ends; `labels_U` are those of both. Trees with few rounds and
    leaves are tried before those with many, and the first best on validation is kept (Friedman 2001). Codes of classes
    are split by sets of them where `is_class_F` says so.
    """
    if labels_U.ndim == 2:
        return each_label(lambda one_U: trees(x_UF, one_U, bounds, 2, is_class_F), labels_U, bounds[0])
    fit, tune, test = x_UF[: bounds[0]], x_UF[bounds[0] : bounds[1]], x_UF[bounds[1] :]
    truth_U = labels_U[bounds[0] :]
    score = auc if num_classes else r2
    best, kept = -np.inf, np.zeros(0)
    for leaves in _LEAVES:
        model = _model(num_classes, leaves, is_class_F).fit(fit, labels_U[: bounds[0]])
        stages = zip(_staged(model, tune, num_classes), _staged(model, test, num_classes), strict=True)
        for tuned, tested in list(stages)[_STRIDE - 1 :: _STRIDE]:
            if (value := score(truth_U, tuned)) > best:
                best, kept = value, tested
    return kept


def linear(
    x_UF: Any, labels_U: NDArray[np.float64], bounds: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """What a linear model on counts, or on their singular vectors, predicts of the last users, as `trees` do."""
    if labels_U.ndim == 2:
        return each_label(lambda one_U: linear(x_UF, one_U, bounds, 2), labels_U, bounds[0])
    fit, tune, test = np.split(np.arange(x_UF.shape[0]), bounds)
    return linear_probe(x_UF, labels_U, fit, tune, test, num_classes, standardise=False)


def commonest_counts(histories: Sequences, num_items: int, num_fit: int) -> NDArray[np.float32]:
    """Log counts of the items that are commonest among the first `num_fit` users, and of all, `[U, F]`."""
    counts = item_counts(histories, num_items).astype(np.float32)
    commonest = np.argsort(-np.asarray(counts[:num_fit].sum(0))[0], kind="stable")[:_ITEMS]
    columns = [np.log1p(counts[:, commonest].toarray()), np.log1p(histories.lengths_U)[:, None]]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def label_baselines(
    histories: Sequences,
    labels_U: NDArray[np.float64],
    bounds: NDArray[np.int64],
    num_classes: int,
    num_items: int,
    tempo_UF: NDArray[np.float64],
    columns: UserColumns,
) -> dict[str, NDArray[np.float64]]:
    """What each predicts of the last users, by name; `bounds` as in `trees`.

    `columns` are the other ones of the users' table; where there are none, trees on tempo are all that reads them.
    """
    num_fit, num_test = bounds[0], histories.num_users - bounds[1]
    is_value = labels_U.ndim == 1 and not num_classes
    found = {"mean" if is_value else "majority": majority(labels_U[:num_fit], num_classes, num_test)}
    counts_UV = tf_idf(histories, num_items)
    svd_UF = svd(counts_UV, _SVD)
    model = "ridge regression" if is_value else "logistic regression"
    for name, x_UF in {"tf-idf": counts_UV, f"SVD-{_SVD}": svd_UF}.items():
        found[f"{model} on {name}"] = linear(x_UF, labels_U, bounds, num_classes)
    tables: dict[str, NDArray[np.floating]] = {
        "item counts": commonest_counts(histories, num_items, num_fit),
        "tempo": tempo_UF,
        f"tempo and SVD-{_SVD_BESIDE}": np.concatenate([tempo_UF, svd_UF[:, :_SVD_BESIDE]], axis=1),
    }
    for name, x_UF in tables.items():
        found[f"boosted trees on {name}"] = trees(x_UF, labels_U[: bounds[1]], bounds, num_classes)
    if columns.names:
        own = columns.with_numbers("tempo", tempo_UF)
        found[OWN] = trees(own.values_UF, labels_U[: bounds[1]], bounds, num_classes, own.is_class_F)
    return found


def _model(num_classes: int, leaves: int, is_class_F: NDArray[np.bool_] | None) -> Any:
    kind = HistGradientBoostingClassifier if num_classes else HistGradientBoostingRegressor
    fixed = {"max_iter": _ROUNDS, "min_samples_leaf": 5, "early_stopping": False, "random_state": 0}
    return kind(max_leaf_nodes=leaves, categorical_features=is_class_F, **fixed)


def _staged(model: Any, x_UF: NDArray[np.floating], num_classes: int) -> Iterator[NDArray[np.float64]]:
    """Predictions after each round; classes that training lacks get nothing."""
    if not num_classes:
        yield from model.staged_predict(x_UF)
        return
    for found_UC in model.staged_predict_proba(x_UF):
        probabilities_UC = np.zeros((len(x_UF), num_classes))
        probabilities_UC[:, model.classes_.astype(int)] = found_UC
        yield probabilities_UC
