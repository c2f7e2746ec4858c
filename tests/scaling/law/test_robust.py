"""The minimiser against scipy's own from a dense grid of starts, and against exact points."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from ray_userrep.scaling.law.fits import fit_law
from ray_userrep.scaling.law.forms import power_law, rivals
from ray_userrep.scaling.law.points import LawPoints
from ray_userrep.scaling.law.robust import DELTA, fit_from, huber


def test_huber_is_a_parabola_inside_and_a_line_outside():
    assert huber(np.array([0.5e-3])) == pytest.approx(0.125e-6)
    assert huber(np.array([-0.1])) == pytest.approx(1e-3 * (0.1 - 0.5e-3))


def published_objective(theta: np.ndarray, points: LawPoints) -> float:
    """The objective as Hoffmann et al. write it: a, b, e uncentred, no derivative."""
    a, b, e, alpha, beta = theta
    terms = [a - alpha * np.log(points.N), b - beta * np.log(points.D), np.full(len(points), e)]
    residual = np.abs(logsumexp(terms, axis=0) - np.log(points.loss))
    return np.where(residual <= DELTA, residual**2 / 2, DELTA * (residual - DELTA / 2)).sum()


def test_no_start_of_a_grid_leads_scipy_below_it(make_points):
    points = make_points(noise=0.02)
    fitted = fit_law(power_law("N", "D"), points)
    k = {name: one.value for name, one in fitted.constants().items()}
    ours = np.array([np.log(k["A"]), np.log(k["B"]), np.log(k["E"]), k["α"], k["β"]])
    assert fitted.objective == pytest.approx(published_objective(ours, points), rel=1e-9)
    best = fitted.objective
    for start in product((0.0, 5.0), (0.0, 5.0), (0.0, 0.5), (0.2, 0.7), (0.2, 0.7)):
        found = minimize(published_objective, start, args=(points,), method="Nelder-Mead", options={"maxiter": 800})
        best = min(best, found.fun)
    polished = minimize(published_objective, ours, args=(points,), method="Nelder-Mead", options={"xatol": 1e-10})
    assert fitted.objective <= best * (1 + 1e-6) and fitted.objective <= polished.fun * (1 + 1e-6)


@pytest.mark.parametrize("n_unit, d_unit, loss_unit", [(1e-6, 1e-9, 1.0), (1e-9, 1.0, 0.01), (1e3, 1e-3, 1e3)])
def test_units_do_not_matter(make_points, n_unit, d_unit, loss_unit):
    points = make_points()
    there = LawPoints.of(points.N * n_unit, points.D * d_unit, points.loss * loss_unit)
    one, other = (fit_law(power_law("N", "D"), these).constants() for these in (points, there))
    for name in ("α", "β"):
        assert other[name].value == pytest.approx(one[name].value, rel=1e-4)
    assert other["E"].value == pytest.approx(one["E"].value * loss_unit, rel=1e-4)
    assert other["A"].value == pytest.approx(one["A"].value * loss_unit * n_unit ** one["α"].value, rel=1e-3)


def test_points_like_the_published_ones_give_their_law_back():
    """240 runs of 44 M to 16 B parameters by the law refitted by Besiroglu et al. 2024, with outliers among them."""
    rng = np.random.default_rng(0)
    truth = {"A": 482.01, "B": 2085.43, "E": 1.8172, "α": 0.3478, "β": 0.3658}
    n = np.exp(rng.uniform(np.log(4.4e7), np.log(1.6e10), 240))
    d = np.clip(np.exp(rng.uniform(np.log(6e18), np.log(3e21), 240)) / (6 * n), 3e8, 3e11)
    loss = truth["E"] + truth["A"] / n ** truth["α"] + truth["B"] / d ** truth["β"]
    exact = fit_law(power_law("N", "D"), LawPoints.of(n, d, loss)).constants()
    loss[:5] *= 1.3
    outliers = fit_law(power_law("N", "D"), LawPoints.of(n, d, loss)).constants()
    for name, value in truth.items():
        assert exact[name].value == pytest.approx(value, rel=1e-5)
        assert outliers[name].value == pytest.approx(value, rel=5e-3)


@pytest.mark.parametrize("form", rivals(("N", "D")), ids=lambda form: form.name)
def test_no_step_makes_a_fit_worse(make_points, form):
    points = make_points()
    logs, target_SP = points.logs(points.centre()), (np.log(points.loss) - points.centre().log_loss)[None]
    starts_SK, weight_SP = form.starts()[:40], np.ones((1, len(points)))
    before, after = (fit_from(form, starts_SK, logs, target_SP, weight_SP, count)[1] for count in (0, 5))
    assert np.isfinite(after).all() and (after <= before).all()
