"""Forms against their formulas written out, and their derivatives against finite differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from ray_userrep.scaling.law.forms import Form, Kaplan, LogLinear, broken, power_law, rivals, saturating
from ray_userrep.scaling.law.points import LawPoints
from ray_userrep.scaling.law.robust import objective

POINTS = LawPoints.of([1e3, 4e4, 2e6], [5e5, 1e6, 7e8], [3.0, 2.5, 2.0])
FORMS = [*rivals(("N", "D")), *rivals(("C",))]


def theta_of(form: Form, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    starts = form.starts()
    return starts[rng.integers(len(starts))] + 0.05 * rng.normal(size=form.num_parameters)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name} {form.formula}")
@pytest.mark.parametrize("seed", range(4))
def test_derivatives_are_those_of_finite_differences(form, seed):
    logs, theta_K = POINTS.logs(POINTS.centre()), theta_of(form, seed)
    _, jacobian = form.log_loss(theta_K[None], logs)
    for point in range(len(POINTS)):
        error = check_grad(
            lambda theta, point=point: form.log_loss(theta[None], logs)[0][0, point],
            lambda theta, point=point: form.log_loss(theta[None], logs)[1][0, point],
            theta_K,
        )
        assert error < 1e-5 * (1 + np.abs(jacobian[0, point]).max())


def test_the_gradient_of_the_objective_is_that_of_finite_differences():
    form, logs = power_law("N", "D"), POINTS.logs(POINTS.centre())
    target_P = np.log(POINTS.loss) - POINTS.centre().log_loss
    theta_K = theta_of(form, 0)
    gradient = objective(form, theta_K, logs, target_P)[1]
    error = check_grad(
        lambda theta: objective(form, theta, logs, target_P)[0],
        lambda theta: objective(form, theta, logs, target_P)[1],
        theta_K,
    )
    assert error < 1e-4 * np.abs(gradient).max()


def losses_of(form: Form, theta_K: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    centre = POINTS.centre()
    losses = np.exp(form.log_loss(theta_K[None], POINTS.logs(centre))[0][0] + centre.log_loss)
    return losses, {name: value[0] for name, value in form.constants(theta_K[None], centre).items()}


@pytest.mark.parametrize("seed", range(3))
def test_constants_are_those_of_the_written_formula(seed):
    n, d = POINTS.N, POINTS.D
    losses, k = losses_of(power_law("N", "D"), theta_of(power_law("N", "D"), seed))
    np.testing.assert_allclose(losses, k["E"] + k["A"] / n ** k["α"] + k["B"] / d ** k["β"])
    losses, k = losses_of(Kaplan(), theta_of(Kaplan(), seed))
    np.testing.assert_allclose(losses, ((k["N_c"] / n) ** (k["α_N"] / k["α_D"]) + k["D_c"] / d) ** k["α_D"])
    log_linear = LogLinear(("N", "D"))
    losses, k = losses_of(log_linear, np.array([1.0, 0.02 * seed, 0.01]))
    np.testing.assert_allclose(losses, k["c"] - k["p_N"] * np.log(n) - k["p_D"] * np.log(d))
    losses, k = losses_of(saturating("N"), theta_of(saturating("N"), seed))
    np.testing.assert_allclose(losses, k["E"] + k["A"] * np.exp(-((n / k["N_scale"]) ** k["N_power"])), rtol=1e-6)


def test_a_break_changes_the_exponent():
    form = broken("N", "N", "D")
    theta_K = np.array([-50.0, 0.0, 0.3, 0.4, 0.5, -50.0, 0.3])
    logs = {"N": np.array([-10.0, -9.0, 9.0, 10.0]), "D": np.zeros(4), "C": np.zeros(4)}
    value_P = form.log_loss(theta_K[None], logs)[0][0]
    assert value_P[0] - value_P[1] == pytest.approx(0.3) and value_P[2] - value_P[3] == pytest.approx(0.7)
    constants = form.constants(theta_K[None], POINTS.centre())
    assert constants["α_beyond"] == pytest.approx(0.7)
    assert constants["N_break"] == pytest.approx(np.exp(0.5 + POINTS.centre().logs["N"]))
