"""All that is said about a set of points: laws compared, predictions, optima, warnings; as values for JSON and as text.

Values that are no finite numbers are null in the JSON, so that any reader takes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ray_userrep.errors import UserError
from ray_userrep.scaling.law import doubts, isoflop
from ray_userrep.scaling.law.fits import CONFIDENCE, NUM_DRAWS, Estimate, LawFit, bootstrapped, exponents, optimum
from ray_userrep.scaling.law.forms import rivals
from ray_userrep.scaling.law.points import LawPoints
from ray_userrep.scaling.law.rivals import Rival, compare_forms, held_out, preferred

RunSize = tuple[float, float]


def study_law(
    points: LawPoints,
    places: Sequence[RunSize] = (),
    budgets: Sequence[float] = (),
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
    isoflop_points: LawPoints | None = None,
) -> dict[str, Any]:
    """Fit and compare the laws of points; predict at places (N, D), and find the optimum of budgets in FLOPs.

    Valleys are those of `isoflop_points`, or of whichever points have about the same compute.

    Raises:
        UserError: the points allow no law, a place or a budget is no positive number, or a budget comes with points
            that do not tell N from D.
    """
    _check(points, places)
    axes = doubts.usable_axes(points)
    compared = compare_forms(rivals(axes), points)
    best = preferred(compared)
    law = bootstrapped(compared[0].fit, num_draws, seed)
    constants = law.constants()
    said = [*doubts.of_points(points, axes), *doubts.of_fit(law, constants), *doubts.of_comparison(law, best)]
    told = {
        "points": _points(points),
        "law": _law(law, constants),
        "comparison": [_rival(rival) for rival in compared],
        "held_out_lines": points.lines[held_out(points)].tolist(),
        "preferred": None if best is None else best.fit.form.name,
        "predictions": _predictions(_trusted(law, best, num_draws, seed), places),
    }
    if axes == ("N", "D"):
        told["exponents"] = {name: _plain(one) for name, one in exponents(law).items()}
        told["optima"] = [_optimum(law, budget) for budget in budgets]
        told["isoflop"] = isoflop.by_valleys(points if isoflop_points is None else isoflop_points)
        told["envelope"] = isoflop.by_envelope(points)
        said += [line for budget in budgets for line in doubts.of_budget(points, budget)]
    elif budgets:
        raise UserError("a budget needs a law in N and D: these points vary along one of them only, or both together")
    finite = _finite(told | {"warnings": said})
    assert isinstance(finite, dict)
    return finite


def _check(points: LawPoints, places: Sequence[RunSize]) -> None:
    for name, values in (("N", points.N), ("D", points.D), ("loss", points.loss), ("C", points.C)):
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            line = points.lines[wrong][0]
            raise UserError(f"line {line}, column {name}: {values[wrong][0]} is not a positive number")
    for place in places:
        if not all(np.isfinite(value) and value > 0 for value in place):
            raise UserError(f"prediction at {place}: N and D must be positive numbers")


def _trusted(law: LawFit, best: Rival | None, num_draws: int, seed: int) -> list[LawFit]:
    """The law, and the form that the points prefer where it is another."""
    other = best is not None and best.fit.form.name != law.form.name
    return [law, bootstrapped(best.fit, num_draws, seed)] if other and best is not None else [law]


def _points(points: LawPoints) -> dict[str, Any]:
    columns = {name: getattr(points, name).tolist() for name in ("N", "D", "loss", "C", "lines")}
    return {"count": len(points), "flops_per_nd": points.flops_per_nd} | columns


def _law(law: LawFit, constants: dict[str, Estimate]) -> dict[str, Any]:
    return {
        "form": law.form.name,
        "formula": law.form.formula,
        "confidence": CONFIDENCE,
        "objective": law.objective,
        "constants": {name: _plain(one) for name, one in constants.items()},
        "log_residuals": law.log_residuals().tolist(),
    }


def _rival(rival: Rival) -> dict[str, Any]:
    constants = {name: one.value for name, one in rival.fit.constants().items()}
    form = rival.fit.form
    return {
        "form": form.name,
        "formula": form.formula,
        "num_constants": form.num_parameters,
        "objective": rival.fit.objective,
        "aicc": rival.aicc,
        "held_out_error": rival.held_out_error,
        "constants": constants,
    }


def _predictions(laws: list[LawFit], places: Sequence[RunSize]) -> list[dict[str, Any]]:
    if not places:
        return []
    told = []
    n, d = zip(*places, strict=True)
    for law in laws:
        where = LawPoints.of(n, d, flops_per_nd=law.points.flops_per_nd)
        for place, mean, run in zip(places, law.predict(where), law.predict_runs(where), strict=True):
            told.append(
                {"form": law.form.name, "N": place[0], "D": place[1]} | {"loss": _plain(mean), "run": _plain(run)}
            )
    return told


def _optimum(law: LawFit, budget: float) -> dict[str, Any]:
    return {"C": budget} | {name: _plain(one) for name, one in optimum(law, budget).items()}


def _plain(one: Estimate) -> dict[str, float]:
    return dict(one._asdict())


def _finite(value: Any) -> Any:
    """Plain values in which what is not a finite number is null, as JSON wants it."""
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def law_table(told: dict[str, Any]) -> str:
    """What `fit` prints."""
    return "\n".join(
        [
            *_law_lines(told),
            *_optimum_lines(told),
            *_prediction_lines(told),
            *_comparison_lines(told),
            *_warning_lines(told),
        ]
    )


def _law_lines(told: dict[str, Any]) -> Iterator[str]:
    law, count = told["law"], told["points"]["count"]
    yield f"L = {law['formula']}   ({count} points, {law['confidence']:.0%} intervals)"
    rows = law["constants"] | {f"{name} (optimum ∝ C^{name})": one for name, one in told.get("exponents", {}).items()}
    for name, one in rows.items():
        yield f"  {name:<22}{_with_interval(one)}"
    for way, title in (("isoflop", "IsoFLOP valleys"), ("envelope", "envelope")):
        if told.get(way, {}).get("a") is not None:
            yield f"  {'a by ' + title:<22}{told[way]['a']:.4g}"


def _optimum_lines(told: dict[str, Any]) -> Iterator[str]:
    for one in told.get("optima", []):
        yield f"for {one['C']:.4g} FLOPs train"
        for name in ("N", "D", "loss"):
            yield f"  {name:<22}{_with_interval(one[name])}"


def _prediction_lines(told: dict[str, Any]) -> Iterator[str]:
    for one in told["predictions"]:
        yield f"at N {one['N']:.4g}, D {one['D']:.4g} by {one['form']}"
        yield f"  {'loss':<22}{_with_interval(one['loss'])}"
        yield f"  {'loss of one run':<22}{_with_interval(one['run'])}"


def _comparison_lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"{'form':<16}{'constants':>10}{'AICc':>12}{'held-out error':>16}"
    for one in sorted(told["comparison"], key=lambda one: (one["aicc"] is None, one["aicc"])):
        mark = "  <- preferred" if one["form"] == told["preferred"] else ""
        aicc, error = _number(one["aicc"], ".1f"), _number(one["held_out_error"], ".4%")
        yield f"{one['form']:<16}{one['num_constants']:>10}{aicc:>12}{error:>16}{mark}"


def _warning_lines(told: dict[str, Any]) -> Iterator[str]:
    for line in told["warnings"]:
        yield f"warning: {line}"


def _with_interval(one: dict[str, float | None]) -> str:
    value = _number(one["value"], ".5g")
    if one["low"] is None and one["high"] is None:
        return f"{value:<12} no interval"
    return f"{value:<12} [{_number(one['low'], '.4g')}, {_number(one['high'], '.4g')}]"


def _number(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
