"""A study as text."""

from collections.abc import Iterator
from typing import Any


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
