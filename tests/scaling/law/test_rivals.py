"""Which form is preferred where the truth is known."""

import numpy as np
import pytest

from ray_userrep.scaling.law.fits import fit_law
from ray_userrep.scaling.law.forms import LogLinear, constant, power_law, rivals, saturating
from ray_userrep.scaling.law.points import LawPoints
from ray_userrep.scaling.law.rivals import aicc, compare_forms, held_out, preferred

TRUTHS = {
    "log_linear": lambda n, d: 9 - 0.2 * np.log(n) - 0.2 * np.log(d),
    "saturating": lambda n, d: 2 + 1.5 * np.exp(-np.sqrt(n / 1e5)) + 1.5 * np.exp(-np.sqrt(d / 1e6)),
    "power_law_N": lambda n, d: 1.8 + 20 / n**0.35,
    "kaplan": lambda n, d: 2 * ((1e7 / n) ** (0.1 / 0.15) + 3e7 / d) ** 0.15,
    "constant": lambda n, d: 3.0 + 0 * n,
}


@pytest.mark.parametrize("name", TRUTHS)
def test_the_true_form_is_preferred(make_points, name):
    points = make_points(noise=0.005, truth=TRUTHS[name], num_data=5)
    best = preferred(compare_forms(rivals(("N", "D")), points))
    assert best is not None and best.fit.form.name == name


def test_the_power_law_is_preferred_where_it_holds(make_points):
    forms = [power_law("N", "D"), LogLinear(("N", "D")), saturating("N", "D"), constant()]
    for seed in range(3):
        best = preferred(compare_forms(forms, make_points(seed=seed, num_seeds=2)))
        assert best is not None and best.fit.form.name == "power_law"


def test_the_largest_runs_are_held_out_with_their_seeds(make_points):
    points = make_points(num_seeds=2)
    largest = held_out(points)
    compute = points.N * points.D
    assert compute[largest].min() > compute[~largest].max()
    assert 2 <= largest.sum() <= len(points) // 3


def test_aicc_is_that_of_laplace_errors(make_points):
    fitted = fit_law(power_law("N", "D"), make_points())
    residuals, count = np.abs(fitted.log_residuals()), 24
    log_likelihood = -count * np.log(2 * residuals.mean()) - count
    assert aicc(fitted) == pytest.approx(-2 * log_likelihood + 2 * 6 + 2 * 6 * 7 / (count - 7))


def test_few_points_are_not_compared():
    points = LawPoints.of([1e3, 2e3, 4e3, 8e3, 1.6e4], [1e5, 1e5, 2e5, 2e5, 4e5], [3.1, 3.0, 2.9, 2.8, 2.7])
    told = compare_forms(rivals(("N", "D")), points)
    assert all(rival.fit.form.num_parameters <= 5 for rival in told)
    assert np.isnan(told[0].aicc) and np.isnan(told[0].held_out_error)
