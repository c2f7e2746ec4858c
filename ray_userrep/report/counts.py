"""Figures of counts: over days, long tails, and lengths; they take counts as they are and do their own binning."""

from collections.abc import Mapping
from datetime import date, timedelta

import matplotlib as mpl
import matplotlib.dates
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from ray_userrep.report.figures import INK, MAIN, SECOND, WIDE, plain, svg

_MOST_BARS = 200
_STEPS = {"day": 1, "week": 7, "4 weeks": 28, "year": 365}


def per_day(days: Mapping[str, int]) -> tuple[str, list[date], NDArray[np.int64]]:
    """Counts of ISO days, those without any too, in steps that can still be told apart: name, first day, count."""
    numbers = np.array([date.fromisoformat(day).toordinal() for day in days])
    first, span = int(numbers.min()), int(np.ptp(numbers)) + 1
    name = next((name for name, width in _STEPS.items() if span <= width * _MOST_BARS), "year")
    steps = np.zeros(-(-span // _STEPS[name]), np.int64)
    np.add.at(steps, (numbers - first) // _STEPS[name], np.array(list(days.values())))
    begins = [date.fromordinal(first) + timedelta(days=_STEPS[name] * n) for n in range(len(steps))]
    return name, begins, steps


def at_least(frequencies: Mapping[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each number that occurs, and how many have at least so many."""
    numbers = np.array(sorted(frequencies))
    return numbers, np.cumsum([frequencies[n] for n in numbers.tolist()[::-1]])[::-1]


def by_doubling(frequencies: Mapping[int, int]) -> dict[str, tuple[int, int]]:
    """How many have 1, 2, 3 to 4, 5 to 8, ... and what they have together, by the most that is counted there."""
    numbers = np.array(sorted(frequencies))
    counts = np.array([frequencies[n] for n in numbers.tolist()])
    step_N = np.ceil(np.log2(numbers)).astype(int)
    found = {}
    for step in range(step_N.max() + 1):
        here = step_N == step
        found[f"{2**step:,}" if step < 2 else f"≤ {2**step:,}"] = (
            int(counts[here].sum()),
            int((numbers * counts)[here].sum()),
        )
    return found


def days_figure(days: Mapping[str, int]) -> str:
    """Interactions over time."""
    name, begins, counts = per_day(days)
    drawing = Figure(figsize=(WIDE, 2.4), layout="constrained")
    axis = drawing.subplots()
    axis.bar(mpl.dates.date2num(begins), counts, width=_STEPS[name] * 0.85, align="edge", color=MAIN, linewidth=0)
    axis.xaxis_date()
    plain(axis, "", f"interactions a {name}" if name != "4 weeks" else "interactions in 4 weeks")
    axis.grid(axis="x", visible=False)
    _thousands(axis.yaxis)
    return svg(drawing)


def tails_figure(panels: Mapping[str, Mapping[int, int]]) -> str:
    """A panel for each kind: how many have at least so many interactions, both axes logarithmic."""
    drawing = Figure(figsize=(WIDE, 2.9), layout="constrained")
    for axis, (kind, frequencies) in zip(np.atleast_1d(drawing.subplots(1, len(panels))), panels.items(), strict=True):
        numbers, having = at_least(frequencies)
        axis.step(numbers, having, where="pre", color=MAIN, linewidth=1.8)
        axis.scatter(numbers[-1:], having[-1:], 22, MAIN, linewidths=0, zorder=3)
        axis.set_xscale("log")
        axis.set_yscale("log")
        if numbers[-1] < 100 * numbers[0]:  # powers of ten alone would leave it without a tick
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.minorticks_off()
        plain(axis, "interactions, at least", kind)
        _thousands(axis.xaxis)
        _thousands(axis.yaxis)
    return svg(drawing)


def lengths_figure(frequencies: Mapping[int, int]) -> str:
    """Shares of users and of interactions by the length of the user's sequence."""
    steps = by_doubling(frequencies)
    drawing = Figure(figsize=(WIDE, 2.6), layout="constrained")
    axis = drawing.subplots()
    for side, name, colour in ((0, "users", MAIN), (1, "interactions", SECOND)):
        counts = np.array([pair[side] for pair in steps.values()])
        axis.bar(np.arange(len(steps)) + 0.4 * side - 0.2, counts / counts.sum(), 0.38, color=colour, label=name)
    axis.set_xticks(range(len(steps)), list(steps))
    axis.tick_params(axis="x", labelrotation=45 if len(steps) > 7 else 0)
    plain(axis, "interactions of the user", "share")
    axis.grid(axis="x", visible=False)
    axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axis.legend(frameon=False, labelcolor=INK)
    return svg(drawing)


def _thousands(axis: "mpl.axis.Axis") -> None:
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
