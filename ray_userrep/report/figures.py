"""Figures as SVG text: curves over training, systems beside each other, a map of users."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK, SOFT, _GRID = "#1c2733", "#5c6b7a", "#e3e8ed"
COLOURS = ("#1f6fb2", "#d9772b", "#2a9d6f", "#b5417b", "#7a5cc4", "#c2a11f", "#3aa6b9", "#8a5a3c")
MAIN, SECOND = COLOURS[:2]
_PALE = "#cbd5df"
_THEMED = {INK: "--ink", SOFT: "--soft", _GRID: "--line", _PALE: "--pale"}

Curve = tuple[Sequence[float], Sequence[float]]


def curves(panels: Mapping[str, Mapping[str, Curve]], x_label: str) -> str:
    """A panel for each quantity, a line for each named curve."""
    drawing = Figure(figsize=(9, 3.1), layout="constrained")
    for axis, (quantity, lines) in zip(np.atleast_1d(drawing.subplots(1, len(panels))), panels.items(), strict=True):
        for colour, (name, (x, y)) in zip(COLOURS, lines.items(), strict=False):
            axis.plot(x, y, color=colour, linewidth=1.8, label=name, marker="o" if len(x) < 40 else None, markersize=3)
        plain(axis, x_label, quantity)
        if len(lines) > 1:
            axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return svg(drawing)


def scatter(panels: Mapping[str, Mapping[str, Curve]], x_label: str, y_label: str) -> Figure:
    """A panel for each data set, a colour for each named group of points."""
    drawing = Figure(figsize=(9, 4.2), layout="constrained")
    axes = np.atleast_1d(drawing.subplots(1, len(panels)))
    names = list(dict.fromkeys(name for groups in panels.values() for name in groups))
    for axis, (title, groups) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in groups.items():
            axis.scatter(x, y, 26, COLOURS[names.index(name) % len(COLOURS)], label=name, linewidths=0, alpha=0.85)
        plain(axis, x_label, y_label)
        axis.set_title(title, color=INK, fontsize=11, loc="left")
    axes[-1].legend(frameon=False, fontsize=9, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawing


def bars(rows: Mapping[str, Mapping[str, float]], x_label: str, ours: str) -> Figure:
    """Horizontal bars with intervals, the largest on top."""
    names = sorted(rows, key=lambda name: rows[name]["mean"])
    drawing = Figure(figsize=(9, 0.5 * len(names) + 1.0), layout="constrained")
    axis = drawing.subplots()
    for place, name in enumerate(names):
        row = rows[name]
        reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        axis.barh(place, row["mean"], color=COLOURS[0] if name == ours else _PALE, height=0.62)
        axis.errorbar(row["mean"], place, xerr=reach, color=INK, linewidth=1.2, capsize=3)
        axis.annotate(
            f"{row['mean']:.3f}", (row["high"], place), (5, 0), textcoords="offset points", va="center", color=INK
        )
    axis.set_yticks(range(len(names)), names)
    axis.margins(x=0.1)
    plain(axis, x_label, "")
    axis.grid(axis="y", visible=False)
    return drawing


def user_map(xy_U2: NDArray[np.float64], labels: Sequence[str]) -> str:
    """Users in the plane, coloured by their commonest labels; the commonest of all stays pale behind the others."""
    named = [label for label, _ in Counter(labels).most_common(len(COLOURS) + 1)]
    label_U = np.array([label if label in named else "other" for label in labels])
    drawing = Figure(figsize=(9, 6), layout="constrained")
    axis = drawing.subplots()
    for colour, label in zip((SOFT, *COLOURS, SOFT), dict.fromkeys([*named, "other"]), strict=False):
        x, y = xy_U2[label_U == label].T
        if not len(x):
            continue
        # Half transparent, not light: pale on a white page and dim on a dark one.
        size, above, alpha = (9, 1, 0.35) if label == named[0] else (20, 2, 1.0)
        name = f"{label} ({len(x):,})".replace("$", r"\$")  # a label is no formula
        axis.scatter(x, y, size, colour, alpha=alpha, label=name, linewidths=0, rasterized=True, zorder=above)
    axis.set_axis_off()
    axis.legend(
        frameon=False, fontsize=9, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.4
    )
    return svg(drawing)


def save(drawing: Figure, path: Path) -> None:
    """Write a figure as a picture file, by its ending."""
    drawing.savefig(path, dpi=160, facecolor="white")


def plain(axis: "mpl.axes.Axes", x_label: str, y_label: str) -> None:
    """The house's axes: labels, a quiet grid, no frame."""
    axis.set_xlabel(x_label, color=SOFT)
    axis.set_ylabel(y_label, color=SOFT)
    axis.tick_params(colors=INK, length=0)
    axis.grid(color=_GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)


def svg(drawing: Figure) -> str:
    """A figure as SVG to put into a page, whose style says the colours of ink, lines and pale surfaces."""
    buffer = io.StringIO()
    # Glyphs as outlines: the page looks the same on a machine without the font.
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "report"}):
        drawing.savefig(buffer, format="svg", dpi=110, metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    for colour, variable in _THEMED.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    return text[text.index("<svg") :]
