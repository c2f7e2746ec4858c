"""A linear model on features of users: it measures what features say, not what a strong model could dig out of them.

Classes by logistic regression, values by ridge; how strong the penalty is, is chosen on users of its own. Dense vectors
of unknown scale are standardised; counts and their singular vectors come in a scale that means something and stay.

Shapes: U users, F features, C classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

Rows = NDArray[np.int64]
Table = Any  # features of users, `[U, F]`: an array or a sparse matrix of scipy
# Of standardised vectors, and of rows of about unit length.
_STANDARD_C, _UNIT_C = (0.0003, 0.003, 0.03, 0.3), (0.3, 1.0, 3.0, 10.0, 30.0)
_STANDARD_ALPHA, _UNIT_ALPHA = (1.0, 30.0, 1000.0), (0.03, 0.3, 3.0, 30.0)


def linear_probe(
    x_UF: Table, y_U: NDArray[np.float64], fit: Rows, tune: Rows, test: Rows, num_classes: int, standardise: bool
) -> NDArray[np.float64]:
    """What a model of the users `fit` predicts of the users `test`: class probabilities, `[U, C]`, or values, `[U]`.

    The penalty is the one that predicts the users `tune` best; `y_U` are class codes, or values where `num_classes`
    is 0.
    """
    if standardise:
        x_UF = StandardScaler().fit(x_UF[fit]).transform(x_UF)
    models = [_model(num_classes, penalty).fit(x_UF[fit], y_U[fit]) for penalty in _penalties(num_classes, standardise)]
    best = max(models, key=lambda model: _score(model, x_UF[tune], y_U[tune]))
    if not num_classes:
        return np.asarray(best.predict(x_UF[test]))
    probabilities_UC = np.zeros((len(test), num_classes))
    probabilities_UC[:, best.classes_.astype(int)] = best.predict_proba(x_UF[test])
    return probabilities_UC


def _penalties(num_classes: int, standardise: bool) -> tuple[float, ...]:
    if num_classes:
        return _STANDARD_C if standardise else _UNIT_C
    return _STANDARD_ALPHA if standardise else _UNIT_ALPHA


def _model(num_classes: int, penalty: float) -> Any:
    return LogisticRegression(C=penalty, max_iter=300) if num_classes else Ridge(alpha=penalty)


def _score(model: Any, x_UF: Table, y_U: NDArray[np.float64]) -> float:
    return float(model.score(x_UF, y_U)) if isinstance(model, Ridge) else _log_likelihood(model, x_UF, y_U)


def _log_likelihood(model: Any, x_UF: Table, y_U: NDArray[np.float64]) -> float:
    known = np.isin(y_U, model.classes_)
    column = np.searchsorted(model.classes_, y_U[known])
    return float(np.log(model.predict_proba(x_UF[known])[np.arange(len(column)), column] + 1e-12).mean())
