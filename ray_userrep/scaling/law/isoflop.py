"""The optimum without a law of the loss: IsoFLOP valleys and the envelope (Hoffmann et al. 2022, Approaches 2 and 1).

Both only look at which size was best for a budget. Parabolas are biased where valleys are not symmetric, and an
envelope takes the luckiest run of each budget: they check the law's exponents, they do not replace them.

Shapes: P points, G budgets.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.scaling.law.points import Floats, LawPoints

_APART = 0.2  # ln C that the runs of one budget span at most
_MIN_SIZES, _MIN_BUDGETS = 4, 3


class Valley(NamedTuple):
    """The bottom of ln(loss) over ln N at one budget."""

    compute: float
    size: float
    loss: float
    num_points: int
    inside: bool  # whether the bottom lies among the sizes that were trained


def budgets(points: LawPoints) -> list[NDArray[np.int64]]:
    """Rows of the points of each budget, the smallest first."""
    order = np.argsort(points.C, kind="stable")
    log_c, starts = np.log(points.C[order]), [0]
    while (beyond := np.searchsorted(log_c, log_c[starts[-1]] + _APART, side="right")) < len(order):
        starts.append(int(beyond))
    return np.split(order, starts[1:])


def valleys(points: LawPoints) -> list[Valley]:
    """A parabola through each budget that was trained at four sizes or more and has a bottom."""
    found = []
    for rows in budgets(points):
        sizes, losses = np.log(points.N[rows]), np.log(points.loss[rows])
        if len(np.unique(sizes.round(2))) >= _MIN_SIZES:
            middle = sizes.mean()
            curve, slope, level = np.polyfit(sizes - middle, losses, 2)
            if curve > 0:
                bottom = -slope / (2 * curve)
                inside = bool(sizes.min() <= bottom + middle <= sizes.max())
                loss = float(np.exp(level - slope**2 / (4 * curve)))
                compute = float(np.exp(np.log(points.C[rows]).mean()))
                found.append(Valley(compute, float(np.exp(bottom + middle)), loss, len(rows), inside))
    return found


def envelope(points: LawPoints) -> NDArray[np.int64]:
    """Rows of the runs that no run of as little compute or less beats, by rising compute."""
    order = np.lexsort((points.loss, np.log(points.C).round(6)))  # of one budget the best comes first
    best = np.minimum.accumulate(points.loss[order])
    is_new = np.concatenate([[True], best[1:] < best[:-1]])
    return order[is_new]


def by_valleys(points: LawPoints) -> dict[str, Any]:
    """The valleys, and the exponents of N ∝ C^a and D ∝ C^b through those with a bottom inside."""
    found = valleys(points)
    inside = [valley for valley in found if valley.inside]
    sizes, computes = (np.array([getattr(v, name) for v in inside]) for name in ("size", "compute"))
    return {"valleys": [valley._asdict() for valley in found]} | _exponents(computes, sizes)


def by_envelope(points: LawPoints) -> dict[str, Any]:
    """The runs on the envelope, and the exponents through them."""
    rows = envelope(points)
    runs = [
        {"compute": float(points.C[row]), "size": float(points.N[row]), "loss": float(points.loss[row])} for row in rows
    ]
    return {"runs": runs} | _exponents(points.C[rows], points.N[rows])


def _exponents(computes: Floats, sizes: Floats) -> dict[str, float | None]:
    """The slope of ln N over ln C, where there are enough budgets."""
    if len(computes) < _MIN_BUDGETS or np.ptp(np.log(computes)) < _APART:
        return {"a": None, "b": None}
    slope = float(np.polyfit(np.log(computes), np.log(sizes), 1)[0])
    return {"a": slope, "b": 1 - slope}
