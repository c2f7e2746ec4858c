"""Intervals against known laws, and optima against a search along the budget."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ray_userrep.errors import UserError
from ray_userrep.scaling.law.fits import bootstrapped, exponents, fit_law, interval_of, optimum
from ray_userrep.scaling.law.forms import power_law
from ray_userrep.scaling.law.points import LawPoints
from ray_userrep.scaling.law.robust import fit_from

LAW = power_law("N", "D")
TRUTH = {"E": 1.8, "A": 20.0, "α": 0.35, "B": 100.0, "β": 0.37}


def loss_at(n: float, d: float, k: dict[str, float]) -> float:
    return k["E"] + k["A"] / n ** k["α"] + k["B"] / d ** k["β"]


def coverage(make_points, num_draws: int, num_resamples: int, **size: int) -> dict[str, float]:
    """How often 95 % intervals hold the truth, for constants, the optimum and a loss beyond the points."""
    beyond = LawPoints.of([4e6], [4e7])
    truth = TRUTH | {"loss": loss_at(4e6, 4e7, TRUTH), "a": TRUTH["β"] / (TRUTH["α"] + TRUTH["β"])}
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in range(num_draws):
        fitted = bootstrapped(fit_law(LAW, make_points(seed=seed, **size)), num_resamples, seed)
        told = fitted.constants() | {"loss": fitted.predict(beyond)[0], "a": exponents(fitted)["a"]}
        for name, one in told.items():
            if name in truth:
                hits[name].append(one.low <= truth[name] <= one.high)
    return {name: float(np.mean(hit)) for name, hit in hits.items()}


def test_intervals_mostly_hold_the_truth(make_points):
    shares = coverage(make_points, 20, 100, num_seeds=2)
    assert min(shares.values()) >= 0.75, shares


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_intervals_hold_the_truth_as_often_as_they_say(make_points, num_seeds):
    shares = coverage(make_points, 200, 200, num_seeds=num_seeds)
    print(shares)
    for name in ("α", "β", "loss"):
        assert 0.90 <= shares[name] <= 0.99, shares


def test_runs_scatter_more_than_the_law_is_unsure(make_points):
    fitted = bootstrapped(fit_law(LAW, make_points(num_seeds=2)), 400)
    place = LawPoints.of([1e5], [1e6])
    mean, run = fitted.predict(place)[0], fitted.predict_runs(place)[0]
    assert run.low < mean.low < mean.value < mean.high < run.high
    assert run.high / run.low == pytest.approx(np.exp(2 * 1.96 * 0.01), rel=0.02)


def test_the_optimum_is_where_a_search_finds_it(make_points):
    fitted = fit_law(LAW, make_points())
    k = {name: one.value for name, one in fitted.constants().items()}
    found = optimum(fitted, 1e14)
    search = minimize_scalar(lambda log_n: loss_at(np.exp(log_n), 1e14 / 6 / np.exp(log_n), k), bounds=(5, 25))
    assert found["N"].value == pytest.approx(np.exp(search.x), rel=1e-3)
    assert found["loss"].value == pytest.approx(search.fun)
    assert 6 * found["N"].value * found["D"].value == pytest.approx(1e14)
    growth = np.log(optimum(fitted, 1e16)["N"].value / found["N"].value) / np.log(100)
    assert exponents(fitted)["a"].value == pytest.approx(growth)


def test_a_budget_counts_flops_as_the_points_do(make_points):
    points = make_points()
    twice = LawPoints.of(points.N, points.D, points.loss, 12 * points.N * points.D)
    assert optimum(fit_law(LAW, twice), 2e14)["N"].value == pytest.approx(
        optimum(fit_law(LAW, points), 1e14)["N"].value
    )


@pytest.mark.parametrize("budget", [1e-3, 0.0, -1.0, float("nan")])
def test_a_budget_of_nothing_is_refused(make_points, budget):
    with pytest.raises(UserError, match="budget"):
        optimum(fit_law(LAW, make_points()), budget)


def test_too_few_points_have_no_intervals(make_points):
    points = make_points().take(np.array([0, 3, 9, 14, 20, 23]))
    assert np.isnan(bootstrapped(fit_law(LAW, points)).constants()["α"].low)


def test_a_floor_that_vanished_in_the_fit_comes_back_in_draws(make_points):
    fitted = bootstrapped(fit_law(LAW, make_points(seed=4, truth=lambda n, d: 20 / n**0.2 + 100 / d**0.25)), 100)
    floor = fitted.constants()["E"]
    assert floor.value < 1e-3 and floor.low < 1e-3 and floor.high > 0.1


def test_a_draw_that_is_no_number_widens_the_interval():
    assert interval_of(1.0, np.array([0.9, 1.0, 1.1, np.nan])).low == -np.inf


def test_draws_have_converged(make_points):
    fitted = bootstrapped(fit_law(LAW, make_points()), 50)
    points, centre = fitted.points, fitted.centre
    weight_RP = np.random.default_rng(0).exponential(size=(50, len(points)))
    target_P = np.log(points.loss) - centre.log_loss
    longer, _ = fit_from(LAW, fitted.draws_RK, points.logs(centre), target_P[None], weight_RP, 400)
    assert ((longer - fitted.draws_RK).std(0) < 0.05 * fitted.draws_RK.std(0)).all()
