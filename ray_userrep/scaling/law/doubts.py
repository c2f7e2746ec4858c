"""What is wrong with points, or with a law fitted to them, in words: no table of numbers should look too sure."""

import numpy as np

from ray_userrep.errors import UserError
from ray_userrep.scaling.law.fits import Estimate, LawFit, has_intervals
from ray_userrep.scaling.law.points import Axis, Floats, LawPoints
from ray_userrep.scaling.law.rivals import Rival

_MIN_VALUES = 3  # an exponent, a size and a floor
_MIN_DECADES = 2.0
_COLLINEAR = 0.995
_TINY_FLOOR = 0.01  # E over the lowest loss
_FAR = 5.0  # robust standard deviations
_SPREAD_C = 1.25
_FAR_BUDGET = 100.0


def usable_axes(points: LawPoints) -> tuple[Axis, ...]:
    """The axes that a law of these points can have: N and D, one of them, or C where N and D grow together.

    Raises:
        UserError: the points differ in nothing that a law could be about.
    """
    both: tuple[Axis, Axis] = ("N", "D")
    axes = tuple(name for name in both if _num_values(points.axis(name)) >= _MIN_VALUES)
    if not axes:
        counts = " and ".join(f"{_num_values(points.axis(name))} of {name}" for name in ("N", "D"))
        raise UserError(f"the points have {counts}: a law needs at least {_MIN_VALUES} different values of one of them")
    return ("C",) if len(axes) == 2 and _correlation(points) > _COLLINEAR else axes


def of_points(points: LawPoints, axes: tuple[Axis, ...]) -> list[str]:
    """Doubts about the points themselves."""
    doubts = [*_few(points, axes), *_together(points, axes)]
    rows = np.stack([points.N, points.D, points.loss], 1)
    _, first, count = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        lines = ", ".join(str(points.lines[row]) for row in first[count > 1][:5])
        doubts.append(f"{int((count - 1).sum())} points are there twice (first at line {lines}): each is counted")
    repeated = points.epochs > 1.0 + 1e-9
    if repeated.any():
        doubts.append(
            f"{int(repeated.sum())} points saw data more than once (up to {np.nanmax(points.epochs):.3g} epochs): "
            "repeated interactions teach less than new ones, and this law takes them for new"
        )
    per_nd = points.C / (points.N * points.D)
    if points.has_c and per_nd.max() > _SPREAD_C * per_nd.min():
        doubts.append(
            f"the compute (C) that a parameter (N) takes for an interaction (D) is {per_nd.min():.3g} to "
            f"{per_nd.max():.3g} FLOPs, by the point: a budget is split as if it were {points.flops_per_nd:.3g}, the "
            "median, for all"
        )
    return doubts


def of_fit(fitted: LawFit, constants: dict[str, Estimate]) -> list[str]:
    """Doubts about a fitted law."""
    num_points, num_parameters = len(fitted.points), fitted.form.num_parameters
    doubts = []
    if not has_intervals(fitted.form, num_points):
        doubts.append(f"{num_points} points for {num_parameters} constants: no intervals, and no law to rely on")
    elif num_points < 3 * num_parameters:
        doubts.append(f"{num_points} points for {num_parameters} constants: the intervals are rough")
    lowest = float(fitted.points.loss.min())
    floor = constants.get("E")
    if floor is not None and not (min(floor.value, floor.low) >= _TINY_FLOOR * lowest):
        doubts.append("E is not told apart from 0: the points do not show a floor")
    for name in ("α", "β", "γ"):
        if name in constants and not (min(constants[name].value, constants[name].low) > 0):
            doubts.append(f"{name} is not told apart from 0: the points do not show that the loss falls along its axis")
    errors = np.abs(fitted.log_residuals())
    # A robust fit goes through as many points as it has constants: those say nothing of the scatter.
    scatter = 1.4826 * np.median(np.sort(errors)[num_parameters:]) if num_points > num_parameters else np.inf
    far = errors > max(_FAR * scatter, 1e-6)
    if far.any() and has_intervals(fitted.form, num_points):
        lines = ", ".join(str(line) for line in fitted.points.lines[far][:10])
        doubts.append(f"{int(far.sum())} points lie far off the law (line {lines}): are they broken runs?")
    return doubts


def of_comparison(law: LawFit, best: Rival | None) -> list[str]:
    """Doubts about the form of the law."""
    if best is None:
        return ["too few points to compare the law with other forms"]
    if best.fit.form.name == "constant":
        return ["a constant describes the points as well as any law: there is no law in them"]
    if best.fit.form.name != law.form.name:
        return [f"the points prefer the form {best.fit.form.name}: do not rely on the {law.form.name} beyond them"]
    return []


def of_budget(points: LawPoints, budget: float) -> list[str]:
    """Doubts about an optimum far from the points."""
    beyond = budget / points.C.max()
    far = beyond > _FAR_BUDGET
    return [f"budget {budget:.3g} is {beyond:.3g} times the largest run: far beyond what was seen"] if far else []


def _few(points: LawPoints, axes: tuple[Axis, ...]) -> list[str]:
    doubts = []
    both: tuple[Axis, Axis] = ("N", "D")
    for name in both:
        values = points.axis(name)
        decades = float(np.log10(values.max() / values.min()))
        if _num_values(values) < _MIN_VALUES and name not in axes:
            doubts.append(f"{_num_values(values)} different {name}: nothing is said about {name}")
        elif decades < _MIN_DECADES:
            doubts.append(f"{name} spans {decades:.2g} decades: exponents want {_MIN_DECADES:g} at least")
        if _MIN_VALUES <= _num_values(values) < 5:
            doubts.append(f"{_num_values(values)} different {name}: an exponent and a floor want 5 at least")
    return doubts


def _together(points: LawPoints, axes: tuple[Axis, ...]) -> list[str]:
    if axes == ("C",):
        return ["N and D grow together in all points: their shares cannot be told apart, the law is one of compute"]
    if axes == ("N", "D") and _correlation(points) < -_COLLINEAR:
        return ["all points lie along one IsoFLOP line: A and B are told apart by its curvature alone"]
    return []


def _num_values(values: Floats) -> int:
    """How many different values there are, more than a percent apart."""
    logs = np.sort(np.log(values))
    return 1 + int((np.diff(logs) > 0.01).sum())


def _correlation(points: LawPoints) -> float:
    return float(np.corrcoef(np.log(points.N), np.log(points.D))[0, 1])
