"""A linear model on features of users: it measures what features say, not what a strong model could dig out of them.

Classes by logistic regression, values by ridge; how strong the penalty is, is chosen on users of its own. Dense vectors
of unknown scale are standardised; counts and their singular vectors come in a scale that means something and stay.
Many values at once are predicted by ridge in closed form: one decomposition of the features serves all penalties.

Shapes: U users, F features, C classes, K values of a user.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from ray_userrep.evaluation.metrics import r2

Rows = NDArray[np.int64]
Table = Any  # features of users, `[U, F]`: an array or a sparse matrix of scipy
# Of standardised vectors, and of rows of about unit length.
_STANDARD_C, _UNIT_C = (0.0003, 0.003, 0.03, 0.3), (0.3, 1.0, 3.0, 10.0, 30.0)
_STANDARD_ALPHA, _UNIT_ALPHA = (1.0, 30.0, 1000.0), (0.03, 0.3, 3.0, 30.0)
_PENALTIES = tuple(10.0**power for power in range(-5, 5))  # of rows of about unit length


class Parts(NamedTuple):
    """Rows of the users that a map is fitted on, its penalty chosen on, and it is tested on."""

    fit: Rows
    tune: Rows
    test: Rows


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


def linear_map(x_UF: NDArray[np.float64], y_UK: NDArray[np.float64], parts: Parts) -> NDArray[np.float64]:
    """What the ridge map of the users `fit` predicts of the users `test`, `[U, K]`; its penalty is chosen on `tune`.

    Features are centred and brought to one scale all together: rotating or scaling them changes nothing.
    """
    mean_F, mean_K = x_UF[parts.fit].mean(0), y_UK[parts.fit].mean(0)
    scale = max(float(np.linalg.norm(x_UF[parts.fit] - mean_F) / len(parts.fit) ** 0.5), 1e-12)
    x_UF, y_UK = (x_UF - mean_F) / scale, y_UK - mean_K
    maps = ridge_maps(x_UF[parts.fit], y_UK[parts.fit], _PENALTIES)
    best_FK = max(maps, key=lambda map_FK: r2(y_UK[parts.tune], x_UF[parts.tune] @ map_FK))
    return x_UF[parts.test] @ best_FK + mean_K


def ridge_maps(
    x_UF: NDArray[np.float64], y_UK: NDArray[np.float64], penalties: Iterable[float]
) -> list[NDArray[np.float64]]:
    """The coefficients of ridge without intercept for each penalty, `[F, K]` (Hoerl & Kennard 1970)."""
    values_F, directions_FF = np.linalg.eigh(x_UF.T @ x_UF)
    fitted_FK = directions_FF.T @ (x_UF.T @ y_UK)
    return [directions_FF @ (fitted_FK / (values_F.clip(min=0)[:, None] + penalty)) for penalty in penalties]
