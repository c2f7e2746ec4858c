"""The minimiser: many robust fits of one form at once, and a last polish of the best.

A fit minimises the summed Huber loss of log residuals with δ = 1e-3 (Hoffmann et al. 2022, appendix D.3). Starts and
resampled points are worked on together by a damped Gauss-Newton iteration on reweighted residuals, a few products of
matrices for all of them; what is reported is polished by BFGS with the analytic gradient and tight tolerances. The
sum matters: with a mean, tolerances are met at the start and nothing is fitted (Besiroglu et al. 2024).

Shapes: S fits at once, P points, K parameters.
"""

import numpy as np
from scipy.optimize import minimize

from ray_userrep.scaling.law.forms import Form
from ray_userrep.scaling.law.points import Floats
from ray_userrep.scaling.law.terms import Logs

DELTA = 1e-3
_TRIED, _KEPT, _POLISHED = 600, 48, 2  # starts that each stage takes over from the one before
_SHORT, _LONG = 12, 120  # iterations
_CHUNK = 2**21  # numbers in a Jacobian


def huber(residuals: Floats) -> Floats:
    """The Huber loss of each residual."""
    size = np.abs(residuals)
    return np.where(size <= DELTA, 0.5 * residuals**2, DELTA * (size - 0.5 * DELTA))


def objective(form: Form, theta_K: Floats, logs: Logs, target_P: Floats) -> tuple[float, Floats]:
    """The summed Huber loss and its gradient, `[K]`."""
    value_SP, jacobian_SPK = form.log_loss(theta_K[None], logs)
    residual_P = value_SP[0] - target_P
    return float(huber(residual_P).sum()), np.clip(residual_P, -DELTA, DELTA) @ jacobian_SPK[0]


def fit_from(
    form: Form, start_SK: Floats, logs: Logs, target_SP: Floats, weight_SP: Floats, iterations: int
) -> tuple[Floats, Floats]:
    """Parameters `[S, K]` and objectives `[S]` after so many iterations from each start.

    Targets and weights are one row for all fits or one row a fit. A step is kept only where it lowers the objective.
    """
    size = max(1, _CHUNK // (target_SP.shape[1] * form.num_parameters))
    parts = []
    for first in range(0, len(start_SK), size):
        here = slice(first, first + size)
        rows = [x if len(x) == 1 else x[here] for x in (target_SP, weight_SP)]
        parts.append(_iterate(form, start_SK[here], logs, rows[0], rows[1], iterations))
    return np.concatenate([theta for theta, _ in parts]), np.concatenate([loss for _, loss in parts])


def fit_best(form: Form, logs: Logs, target_P: Floats) -> tuple[Floats, float]:
    """The best parameters that many starts lead to, `[K]`, and their objective."""
    theta_SK = form.starts()
    for iterations, kept in ((0, _TRIED), (_SHORT, _KEPT), (_LONG, _POLISHED)):
        theta_SK, loss_S = fit_from(form, theta_SK, logs, target_P[None], np.ones((1, len(target_P))), iterations)
        theta_SK = theta_SK[np.argsort(loss_S, kind="stable")[:kept]]
    polished = [_polish(form, theta_K, logs, target_P) for theta_K in theta_SK]
    return min(polished, key=lambda found: found[1])


def _polish(form: Form, theta_K: Floats, logs: Logs, target_P: Floats) -> tuple[Floats, float]:
    start, _ = objective(form, theta_K, logs, target_P)
    with np.errstate(all="ignore"):
        found = minimize(
            lambda theta: objective(form, theta, logs, target_P),
            theta_K,
            jac=True,
            method="BFGS",
            options={"gtol": 1e-12, "maxiter": 400},
        )
    return (found.x, float(found.fun)) if found.fun <= start else (theta_K, start)


def _iterate(
    form: Form, theta_SK: Floats, logs: Logs, target_SP: Floats, weight_SP: Floats, iterations: int
) -> tuple[Floats, Floats]:
    damping_S = np.full(len(theta_SK), 1e-2)
    value_SP, jacobian_SPK = form.log_loss(theta_SK, logs)
    residual_SP = value_SP - target_SP
    loss_S = (weight_SP * huber(residual_SP)).sum(1)
    for _ in range(iterations):
        step_SK = _step(residual_SP, jacobian_SPK, weight_SP, damping_S)
        value_SP, jacobian_new = form.log_loss(theta_SK + step_SK, logs)
        residual_new = value_SP - target_SP
        loss_new = (weight_SP * huber(residual_new)).sum(1)
        better_S = loss_new < loss_S
        theta_SK = np.where(better_S[:, None], theta_SK + step_SK, theta_SK)
        residual_SP = np.where(better_S[:, None], residual_new, residual_SP)
        jacobian_SPK[better_S] = jacobian_new[better_S]
        loss_S = np.where(better_S, loss_new, loss_S)
        damping_S = np.clip(np.where(better_S, damping_S * 0.2, damping_S * 5), 1e-8, 1e10)
    return theta_SK, loss_S


def _step(residual_SP: Floats, jacobian_SPK: Floats, weight_SP: Floats, damping_S: Floats) -> Floats:
    """The damped Gauss-Newton step on residuals weighted by how far they lie outside of δ."""
    pull_SP = weight_SP / np.maximum(1.0, np.abs(residual_SP) / DELTA)
    pulled_SKP = (jacobian_SPK * pull_SP[..., None]).transpose(0, 2, 1)
    normal_SKK = pulled_SKP @ jacobian_SPK
    scale_SK = np.sqrt(np.diagonal(normal_SKK, axis1=1, axis2=2))
    scale_SK = np.maximum(scale_SK, 1e-9 * scale_SK.max(1, keepdims=True) + 1e-150)
    gradient_SK = (pulled_SKP @ residual_SP[..., None])[..., 0] / scale_SK
    # Of unit diagonal and damped by no less than 1e-8, so that it is never singular, whatever the points.
    scaled_SKK = normal_SKK / (scale_SK[:, :, None] * scale_SK[:, None])
    scaled_SKK += damping_S[:, None, None] * np.eye(scale_SK.shape[1])
    return -np.linalg.solve(scaled_SKK, gradient_SK[..., None])[..., 0] / scale_SK
