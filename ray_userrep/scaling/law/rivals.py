"""Is it a power law at all? Rival forms compared by AICc, and by the error on the largest runs when held out.

The information criterion is that of Laplace errors of ln(loss), which the Huber loss with a small δ is the likelihood
of: outliers count for what they count in the fit.

Shapes: P points.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.scaling.law.fits import LawFit, fit_law
from ray_userrep.scaling.law.forms import Form
from ray_userrep.scaling.law.points import LawPoints

_HELD_SHARE, _MIN_HELD = 0.2, 2
_DECISIVE, _CLEAR = 10.0, 2.0  # differences in AICc (Burnham & Anderson 2002, section 2.6)
_EXACT = 1e-9  # mean error of ln(loss) below which a fit is exact


class Rival(NamedTuple):
    """How well a form does; NaN where there are too few points to say."""

    fit: LawFit
    aicc: float
    held_out_error: float


def held_out(points: LawPoints) -> NDArray[np.bool_]:
    """The fifth of the points with the most compute, two at least; runs of one size and data stay together, `[P]`."""
    count = max(_MIN_HELD, round(_HELD_SHARE * len(points)))
    compute_P = points.C if points.has_c else points.N * points.D
    least = np.sort(compute_P)[-count]
    return compute_P >= least * (1 - 1e-9)


def compare_forms(forms: list[Form], points: LawPoints) -> list[Rival]:
    """Every form that the points are enough for, as given."""
    largest_P = held_out(points)
    rivals = []
    for form in forms:
        if len(points) >= form.num_parameters:
            fitted = fit_law(form, points)
            rivals.append(Rival(fitted, aicc(fitted), _held_out_error(form, points, largest_P)))
    return rivals


def preferred(rivals: list[Rival]) -> Rival | None:
    """The simplest form that no other beats; None where there are too few points to compare.

    A form with more constants must win clearly by AICc and also on the held-out runs, or decisively by AICc.
    """
    known = sorted((r for r in rivals if np.isfinite(r.aicc)), key=lambda r: (r.fit.form.num_parameters, r.aicc))
    if not known:
        return None
    best = known[0]
    for rival in known[1:]:
        gain = best.aicc - rival.aicc
        beats_held_out = not rival.held_out_error >= best.held_out_error
        if gain > _DECISIVE or (gain > _CLEAR and beats_held_out):
            best = rival
    return best


def aicc(fitted: LawFit) -> float:
    """Akaike's criterion, corrected for few points (Hurvich & Tsai 1989), the scale counted as a parameter."""
    num_points, num_parameters = len(fitted.points), fitted.form.num_parameters + 1
    if num_points <= num_parameters + 1:
        return float("nan")
    scale = max(float(np.abs(fitted.log_residuals()).mean()), _EXACT)
    fewness = num_points / (num_points - num_parameters - 1)
    return 2 * num_points * (np.log(2 * scale) + 1) + 2 * num_parameters * fewness


def _held_out_error(form: Form, points: LawPoints, largest_P: NDArray[np.bool_]) -> float:
    """The mean error of ln(loss) at the largest runs when fitted to the others."""
    small, large = points.take(~largest_P), points.take(largest_P)
    if len(small) < form.num_parameters + 1:
        return float("nan")
    expected, _ = fit_law(form, small).losses(large)
    return float(np.abs(np.log(large.loss / expected)).mean())
