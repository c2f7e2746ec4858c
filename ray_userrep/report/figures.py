"""Figures as SVG text: curves over training, systems beside each other, a map of users.

They are drawn for a narrow page and may grow on a wide one: letters can be read on a telephone, at the price of
smaller pictures on a screen.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

INK, SOFT, _GRID = "#1c2733", "#5c6b7a", "#e3e8ed"
COLOURS = ("#1f6fb2", "#d9772b", "#2a9d6f", "#b5417b", "#7a5cc4", "#c2a11f", "#3aa6b9", "#8a5a3c")
MAIN, SECOND = COLOURS[:2]
_PALE = "#cbd5df"
_THEMED = {INK: "--ink", SOFT: "--soft", _GRID: "--line", _PALE: "--pale"}

WIDE, PANEL = 6.0, 4.4  # inches of a picture alone, and of one of several that stand side by side where there is room
_LEAST, _MOST = 0.6, 1.25  # how far a page may shrink and stretch a picture; below, it is scrolled sideways
_PIXELS_PER_INCH = 96
LINES, MARKS = ("-", "--", ":", "-."), "osD^"

Curve = tuple[Sequence[float], Sequence[float]]


def series() -> Iterator[tuple[str, int]]:
    """A colour and a number of its style for each series: when the colours are used up, they come in another style."""
    return ((colour, style) for style in cycle(range(len(LINES))) for colour in COLOURS)


def curves(panels: Mapping[str, Mapping[str, Curve]], x_label: str) -> str:
    """A panel for each quantity, a line for each named curve; panels stand below each other on a narrow page."""
    drawn = []
    for quantity, lines in panels.items():
        drawing = Figure(figsize=(PANEL, 2.8 + 0.12 * len(lines)), layout="constrained")
        axis = drawing.subplots()
        _lines(axis, lines)
        if all(float(place).is_integer() for x, _ in lines.values() for place in x):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axis, x_label, "")
        axis.set_title(_words(quantity), color=SOFT, fontsize=10, loc="left")
        if len(lines) > 1:
            _legend_below(drawing, axis)
        drawn.append(f"<div>{svg(drawing)}</div>")
    return f'<div class="pair">{"".join(drawn)}</div>'


def by_size(lines: Mapping[str, Curve], x_label: str, y_label: str) -> str:
    """Lines over counts on a logarithmic axis, which names the counts that there are."""
    drawing = Figure(figsize=(WIDE, 3.4 + 0.12 * len(lines)), layout="constrained")
    axis = drawing.subplots()
    _lines(axis, lines)
    axis.set_xscale("log")
    counts = sorted({count for x, _ in lines.values() for count in x})
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.xaxis.set_minor_locator(NullLocator())
    plain(axis, x_label, y_label)
    _legend_below(drawing, axis)
    return svg(drawing)


def _lines(axis: "mpl.axes.Axes", lines: Mapping[str, Curve]) -> None:
    for (colour, style), (name, (x, y)) in zip(series(), lines.items(), strict=False):
        mark = MARKS[style] if len(x) < 40 else None
        axis.plot(x, y, LINES[style], color=colour, linewidth=1.8, label=_words(name), marker=mark, markersize=3)


def _legend_below(drawing: Figure, axis: "mpl.axes.Axes") -> None:
    """Names in the order in which the lines end, the highest first."""
    ends = sorted(axis.get_lines(), key=lambda line: -float(np.asarray(line.get_ydata())[-1]))
    drawing.legend(handles=ends, frameon=False, labelcolor=INK, loc="outside lower left", ncols=2)


def _words(name: str) -> str:
    """A name is no formula, and one with an underscore in front is not to be left out, as matplotlib would."""
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def scatter(panels: Mapping[str, Mapping[str, Curve]], x_label: str, y_label: str) -> Figure:
    """A panel for each data set, a colour and a mark for each named group of points."""
    drawing = Figure(figsize=(9, 4.2), layout="constrained")
    axes = np.atleast_1d(drawing.subplots(1, len(panels)))
    names = list(dict.fromkeys(name for groups in panels.values() for name in groups))
    drawn_as = dict(zip(names, series(), strict=False))
    for axis, (title, groups) in zip(axes, panels.items(), strict=True):
        for name, (x, y) in groups.items():
            colour, style = drawn_as[name]
            axis.scatter(x, y, 26, colour, marker=MARKS[style], label=_words(name), linewidths=0, alpha=0.85)
        plain(axis, x_label, y_label)
        axis.set_title(title, color=INK, fontsize=11, loc="left")
    axes[-1].legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawing


def bars(rows: Mapping[str, Mapping[str, float]], x_label: str, ours: str, sign: int = 1) -> Figure:
    """Horizontal bars with intervals, the largest on top, or with a sign of -1 the smallest."""
    names = sorted(rows, key=lambda name: sign * rows[name]["mean"])
    drawing = Figure(figsize=(WIDE, 0.42 * len(names) + 0.9), layout="constrained")
    axis = drawing.subplots()
    for place, name in enumerate(names):
        row = rows[name]
        reach = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        axis.barh(place, row["mean"], color=COLOURS[0] if name == ours else _PALE, height=0.62)
        axis.errorbar(row["mean"], place, xerr=reach, color=INK, linewidth=1.2, capsize=3)
        axis.annotate(
            f"{row['mean']:.3f}", (row["high"], place), (5, 0), textcoords="offset points", va="center", color=INK
        )
    axis.set_yticks(range(len(names)), [_words(name) for name in names])
    axis.margins(x=0.14)
    plain(axis, x_label, "")
    axis.grid(axis="y", visible=False)
    return drawing


def user_map(xy_U2: NDArray[np.float64], labels: Sequence[str]) -> str:
    """Users in the plane, coloured by their commonest labels; the commonest of all stays pale behind the others."""
    named = [label for label, _ in Counter(labels).most_common(len(COLOURS) + 1)]
    label_U = np.array([label if label in named else "other" for label in labels])
    drawing = Figure(figsize=(WIDE, 5.4), layout="constrained")
    axis = drawing.subplots()
    for colour, label in zip((SOFT, *COLOURS, SOFT), dict.fromkeys([*named, "other"]), strict=False):
        x, y = xy_U2[label_U == label].T
        if not len(x):
            continue
        # Half transparent, not light: pale on a white page and dim on a dark one.
        size, above, alpha = (9, 1, 0.35) if label == named[0] else (20, 2, 1.0)
        name = _words(f"{label} ({len(x):,})")
        axis.scatter(x, y, size, colour, alpha=alpha, label=name, linewidths=0, rasterized=True, zorder=above)
    axis.set_axis_off()
    drawing.legend(frameon=False, labelcolor=INK, loc="outside lower left", ncols=2, markerscale=1.4)
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
    pixels = drawing.get_figwidth() * _PIXELS_PER_INCH
    sized = f"width: 100%; height: auto; min-width: {_LEAST * pixels:.0f}px; max-width: {_MOST * pixels:.0f}px"
    return f'<svg style="{sized}"' + text[text.index("<svg") + len("<svg") :]
