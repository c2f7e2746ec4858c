"""A law fitted to points, and how sure its constants, predictions and optimum are.

Intervals are quantiles over Bayesian bootstrap draws (Rubin 1981): each point's weight is exponential, and the law is
fitted anew from the full fit. Unlike resampling with replacement no draw loses a whole model size, which makes small
grids of runs usable.

Shapes: R draws, P points, K parameters, Q places of a prediction.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ray_userrep.errors import UserError
from ray_userrep.scaling.law.forms import Form
from ray_userrep.scaling.law.points import Centre, Floats, LawPoints
from ray_userrep.scaling.law.robust import fit_best, fit_from

CONFIDENCE = 0.95
NUM_DRAWS = 1000
_ITERATIONS = 120


class Estimate(NamedTuple):
    """A value and its interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LawFit:
    """A form with the parameters that fit points best, and where they were drawn those of the bootstrap."""

    form: Form
    points: LawPoints
    centre: Centre
    theta_K: Floats
    objective: float
    draws_RK: Floats

    def log_residuals(self) -> Floats:
        """ln(loss) less that of the law at each point, `[P]`."""
        value_SP, _ = self.form.log_loss(self.theta_K[None], self.points.logs(self.centre))
        return np.log(self.points.loss) - self.centre.log_loss - value_SP[0]

    def constants(self) -> dict[str, Estimate]:
        """The constants of the formula."""
        values = self.form.constants(self.theta_K[None], self.centre)
        draws = self.form.constants(self.draws_RK, self.centre)
        return {name: interval_of(float(value[0]), draws[name]) for name, value in values.items()}

    def losses(self, places: LawPoints) -> tuple[Floats, Floats]:
        """The law's loss at each place, `[Q]`, and that of each draw, `[R, Q]`."""
        logs = places.logs(self.centre)
        both = np.concatenate([self.theta_K[None], self.draws_RK])
        value_SQ = np.exp(self.form.log_loss(both, logs)[0] + self.centre.log_loss)
        return value_SQ[0], value_SQ[1:]

    def predict(self, places: LawPoints) -> list[Estimate]:
        """The loss that the law expects at each place."""
        value_Q, draws_RQ = self.losses(places)
        return [interval_of(float(value), draws_RQ[:, place]) for place, value in enumerate(value_Q)]

    def predict_runs(self, places: LawPoints, seed: int = 0) -> list[Estimate]:
        """The loss of a single run at each place, which scatters about the law as the points do."""
        value_Q, draws_RQ = self.losses(places)
        spread = np.sqrt(len(self.points) / max(1, len(self.points) - self.form.num_parameters))
        scatter_RQ = np.random.default_rng(seed).choice(self.log_residuals(), draws_RQ.shape)
        runs_RQ = draws_RQ * np.exp(spread * scatter_RQ)
        return [interval_of(float(value), runs_RQ[:, place]) for place, value in enumerate(value_Q)]


def fit_law(form: Form, points: LawPoints) -> LawFit:
    """The form's best fit, without intervals."""
    centre = points.centre()
    theta_K, objective = fit_best(form, points.logs(centre), np.log(points.loss) - centre.log_loss)
    return LawFit(form, points, centre, theta_K, objective, np.empty((0, form.num_parameters)))


def bootstrapped(fitted: LawFit, num_draws: int = NUM_DRAWS, seed: int = 0) -> LawFit:
    """The fit with bootstrap draws; with none where there are too few points for an interval to mean anything."""
    points, form = fitted.points, fitted.form
    if not has_intervals(form, len(points)):
        return fitted
    weight_RP = np.random.default_rng(seed).exponential(size=(num_draws, len(points)))
    target_P = np.log(points.loss) - fitted.centre.log_loss
    start_RK = np.repeat(form.revived(fitted.theta_K)[None], num_draws, 0)
    logs = points.logs(fitted.centre)
    draws_RK, _ = fit_from(form, start_RK, logs, target_P[None], weight_RP, _ITERATIONS)
    return replace(fitted, draws_RK=draws_RK)


def has_intervals(form: Form, num_points: int) -> bool:
    """Whether there are two points more than constants."""
    return num_points >= form.num_parameters + 2


def interval_of(value: float, draws_R: Floats) -> Estimate:
    """A value with the quantiles of its draws; a draw that is not a number counts as both very low and very high."""
    if not len(draws_R):
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(np.where(np.isnan(draws_R), -np.inf, draws_R), tail, method="lower")
    high = np.quantile(np.where(np.isnan(draws_R), np.inf, draws_R), 1 - tail, method="higher")
    return Estimate(value, float(low), float(high))


def exponents(fitted: LawFit) -> dict[str, Estimate]:
    """How the best size and the best data grow with compute: N ∝ C^a, D ∝ C^b, for a power law in N and D."""
    values, draws = fitted.form.constants(fitted.theta_K[None], fitted.centre), _draws(fitted)
    a, a_R = _share(values), _share(draws)
    return {"a": interval_of(float(a[0]), a_R), "b": interval_of(float(1 - a[0]), 1 - a_R)}


def optimum(fitted: LawFit, budget: float) -> dict[str, Estimate]:
    """The size N, the data D and the loss that are best for so many FLOPs (Hoffmann et al. 2022, eq. 4).

    Raises:
        UserError: the budget is no positive number, or too small for one parameter and one interaction.
    """
    if not (np.isfinite(budget) and budget > 0):
        raise UserError(f"budget {budget:g}: it must be a positive number of FLOPs")
    product = budget / fitted.points.flops_per_nd
    values = _optimum(fitted.form.constants(fitted.theta_K[None], fitted.centre), product)
    if min(values["N"][0], values["D"][0]) < 1:
        raise UserError(f"budget {budget:g} FLOPs is less than one interaction through one parameter at the optimum")
    draws = _optimum(_draws(fitted), product)
    return {name: interval_of(float(value[0]), draws[name]) for name, value in values.items()}


def _draws(fitted: LawFit) -> dict[str, Floats]:
    return fitted.form.constants(fitted.draws_RK, fitted.centre)


def _share(constants: dict[str, Floats]) -> Floats:
    """a = β/(α+β), NaN where a loss that grows with N or D has no optimum."""
    alpha, beta = constants["α"], constants["β"]
    with np.errstate(all="ignore"):
        return np.where((alpha > 0) & (beta > 0), beta / (alpha + beta), np.nan)


def _optimum(constants: dict[str, Floats], product: float) -> dict[str, Floats]:
    alpha, beta = constants["α"], constants["β"]
    with np.errstate(all="ignore"):
        log_a, log_b = np.log(constants["A"] * alpha), np.log(constants["B"] * beta)
        log_n = (log_a - log_b + beta * np.log(product)) / (alpha + beta)
        log_n = np.where((alpha > 0) & (beta > 0), log_n, np.nan)
        log_d = np.log(product) - log_n
        loss = constants["E"] + constants["A"] * np.exp(-alpha * log_n) + constants["B"] * np.exp(-beta * log_d)
        return {"N": np.exp(log_n), "D": np.exp(log_d), "loss": loss}
