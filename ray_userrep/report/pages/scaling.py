"""The page of a scaling study: what was measured, the law with its intervals, and how far it may be trusted.

Every figure is drawn from plain values that are handed back beside the page, so that anyone can draw it again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from ray_userrep import storage
from ray_userrep.report.figures import INK, LINES, MAIN, MARKS, SOFT, WIDE, plain, series, svg
from ray_userrep.report.page import Section, drawing, facts, listing, page, remark
from ray_userrep.report.results import REPORT, load_result

Values = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


def draw(folder: str) -> str:
    """Write `<study>/report.html`, and the values of its figures, from the stored result; returns its place."""
    result = load_result(folder)
    html, values = scaling_page(result["recipe"]["name"], result)
    for name, plotted in values.items():
        storage.write_json(storage.join(folder, "figures", f"{name}.json"), plotted)
    uri = storage.join(folder, REPORT)
    storage.write_text(uri, html)
    return uri


def scaling_page(name: str, told: Mapping[str, Any]) -> tuple[str, dict[str, Values]]:
    """The page, and the values of each figure by name."""
    kept = {name: values for name, values in _figures(told) if values is not None}
    drawn = {name: drawing(partial(_svg_of, name, values), _CAPTIONS[name]) for name, values in kept.items()}
    titles = {
        "loss": "Loss against size, data and compute", "isoflop": "IsoFLOP valleys", "frontier": "Compute-optimal runs",
        "downstream": "What a lower loss is worth", "residuals": "Residuals", "axes": "Sequence length and batch",
        "utilisation": "The cluster",
    }  # fmt: skip
    pictures = [Section(titles[name], drawn[name]) for name in titles if name in drawn]
    sections = [*pictures[:1], *_told_first(told), *pictures[1:], Section("Runs", _runs(told["rows"]))]
    sections += [Section("Learning rates tried", _tuning(told["tuning"]))] if told["tuning"] else []
    return page(f"Scaling study: {name}", _lead(told), sections), kept


def _svg_of(name: str, values: Values) -> str:
    return svg(_DRAW[name](values))


def _told_first(told: Mapping[str, Any]) -> Iterator[Section]:
    """What was predicted, the law, and what speaks against relying on it, before all pictures but the first."""
    if told["proof"]:
        yield Section("Predicted, then trained", _proof(told["proof"], told["prediction"]["date"]))
    if told["law"] is not None:
        yield Section("The law", _law(told["law"]))
    if told["floor"] is not None:
        yield Section("The least possible loss", _floor(told["floor"]))
    if told["warnings"]:
        yield Section("Doubts", "".join(remark(line) for line in told["warnings"]))
    if told["law"] is not None and told["law"].get("optima"):
        yield Section("From a budget to a run", _advice(told["law"]))


def _lead(told: Mapping[str, Any]) -> str:
    rows = told["rows"]
    lost = sum(row["loss"] is None for row in rows)
    text = f"{len(rows)} runs" + (f", {lost} of them diverged" if lost else "")
    if told["law"] is None:
        return f"{text}; they allow no law."
    proof = told["proof"]
    inside = sum(one["inside"] for one in proof)
    ending = f"; {inside} of {len(proof)} predictions of held-out runs held" if proof else "; nothing was held out"
    return f"{text}; L = {told['law']['law']['formula']}{ending}."


def _figures(told: Mapping[str, Any]) -> Iterator[tuple[str, Values | None]]:
    rows = [row for row in told["rows"] if row["loss"] is not None]
    main = [row for row in rows if row["kind"] in ("grid", "isoflop")]
    law = told["law"]
    curves, frontier = (law["curves"], law.get("frontier", [])) if law else ({}, [])
    yield "loss", {"rows": _columns(main), "curves": curves, "frontier": frontier} if main else None
    iso = [row for row in rows if row["kind"] == "isoflop"]
    valleys = law["isoflop"]["valleys"] if law and "isoflop" in law else []
    yield "isoflop", {"rows": _columns(iso), "valleys": valleys} if iso else None
    yield "frontier", {"optima": law["frontier"]} if law and law.get("frontier") else None
    yield "downstream", _downstream(main) if main else None
    yield "residuals", _residuals(law) if law else None
    further = [row for row in rows if row["kind"] in ("length", "batch")]
    places = {(row["size"], row["data"]) for row in further}
    beside = [row for row in rows if row["kind"] == "grid" and (row["size"], row["data"]) in places]
    yield "axes", {"rows": _columns(further + beside)} if further else None
    samples = told["utilisation"]
    kept = ("minutes", "nodes", "cores", "cores_used", "gpus", "gpus_used")
    yield "utilisation", {name: [one[name] for one in samples] for name in kept} if len(samples) > 1 else None


def _columns(rows: Rows) -> Values:
    names = ("name", "kind", "N", "D", "C", "compute", "loss", "held_out", "max_len", "batch_tokens", "data", "size")
    return {name: [row[name] for row in rows] for name in names}


def _downstream(rows: Rows) -> Values:
    attributes = list(dict.fromkeys(name for row in rows for name in row["profile"]))
    told: Values = {"loss": [row["loss"] for row in rows], "ndcg@10": [row["ndcg@10"] for row in rows]}
    return told | {f"profile {name}": [row["profile"].get(name) for row in rows] for name in attributes}


def _residuals(law: Mapping[str, Any]) -> Values:
    return {name: law["points"][name] for name in ("N", "D")} | {"residuals": law["law"]["log_residuals"]}


def loss_figure(values: Values) -> Figure:
    """Loss against size, data and compute, from the values that `scaling_page` hands back as `loss`."""
    drawing = Figure(figsize=(9.5, 3.8), layout="constrained")
    rows = values["rows"]
    grid, others = ([i for i, kind in enumerate(rows["kind"]) if (kind == "grid") is flag] for flag in (True, False))
    for axis, x, group in zip(drawing.subplots(1, 3, sharey=True), "NDC", ("data", "size", "size"), strict=True):
        axis.plot(*_at(rows, x, "loss", others), "o", color=SOFT, alpha=0.4, markersize=3)
        for (colour, style), key in zip(series(), sorted({rows[group][i] for i in grid}), strict=False):
            here = [i for i in grid if rows[group][i] == key]
            seen, held = ([i for i in here if rows["held_out"][i] is flag] for flag in (False, True))
            axis.plot(*_at(rows, x, "loss", seen), MARKS[style], color=colour, markersize=4, label=f"{key:,}")
            axis.plot(*_at(rows, x, "loss", held), "s", color=colour, markersize=6, markerfacecolor="none")
            curve = values["curves"].get(x, {}).get(str(key)) if x != "C" else None
            if curve:
                axis.plot(curve["x"], curve["value"], LINES[style], color=colour, linewidth=1.3)
                if None not in (*curve["low"], *curve["high"]):
                    axis.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
        _logs(axis, {"N": "backbone parameters N", "D": "interactions D", "C": "FLOPs of the backbone C"}[x])
        if x == "C" and values["frontier"]:
            best = [(one["C"], one["loss"]["value"]) for one in values["frontier"] if one["C"] <= 3 * max(rows["C"])]
            axis.plot(*zip(*best, strict=True), color=INK, linewidth=1.3)
        if x != "C":
            axis.legend(frameon=False, fontsize=9, labelcolor=INK, title="D" if x == "N" else "N", title_fontsize=9)
    return drawing


def _draw_isoflop(values: Values) -> Figure:
    drawing = Figure(figsize=(WIDE, 3.8), layout="constrained")
    axis, rows = drawing.subplots(), values["rows"]
    budgets = [f"{compute:.2g}" for compute in rows["compute"]]
    for (colour, style), budget in zip(series(), dict.fromkeys(budgets), strict=False):
        here = [i for i, one in enumerate(budgets) if one == budget]
        n, loss = _at(rows, "N", "loss", here)
        axis.plot(n, loss, MARKS[style], color=colour, markersize=5, label=f"{budget} FLOPs")
        if len(set(n)) >= 3:
            grid = np.linspace(min(np.log(n)), max(np.log(n)), 60)
            parabola = np.exp(np.polyval(np.polyfit(np.log(n), np.log(loss), 2), grid))
            axis.plot(np.exp(grid), parabola, LINES[style], color=colour)
    for valley in values["valleys"]:
        if valley["inside"]:
            axis.plot(valley["size"], valley["loss"], "*", color=INK, markersize=11)
    _logs(axis, "backbone parameters N")
    axis.legend(frameon=False, labelcolor=INK)
    return drawing


def _draw_frontier(values: Values) -> Figure:
    drawing = Figure(figsize=(9, 3.6), layout="constrained")
    computes = [one["C"] for one in values["optima"]]
    labels = {"N": "best size N", "D": "best data D", "loss": "loss"}
    for axis, (name, label) in zip(drawing.subplots(1, 3), labels.items(), strict=True):
        value, low, high = ([one[name][part] for one in values["optima"]] for part in ("value", "low", "high"))
        axis.plot(computes, value, color=MAIN)
        if None not in (*low, *high):
            axis.fill_between(computes, low, high, color=MAIN, alpha=0.2, linewidth=0)
        plain(axis, "FLOPs of the backbone C", label)
        axis.set(xscale="log", yscale="log")
        _counts(axis.xaxis)
        (_losses if name == "loss" else _counts)(axis.yaxis)
    return drawing


def _draw_downstream(values: Values) -> Figure:
    names = [name for name in values if name != "loss"]
    drawing = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, name in zip(np.atleast_1d(drawing.subplots(1, len(names))), names, strict=True):
        pairs = [(x, y) for x, y in zip(values["loss"], values[name], strict=True) if y is not None]
        axis.plot(*zip(*pairs, strict=True), "o", color=MAIN, markersize=4)
        plain(axis, "validation loss", name)
        axis.invert_xaxis()
    return drawing


def _draw_residuals(values: Values) -> Figure:
    drawing = Figure(figsize=(9, 3.2), layout="constrained")
    for axis, name in zip(drawing.subplots(1, 2, sharey=True), "ND", strict=True):
        axis.axhline(0, color=SOFT, linewidth=1)
        axis.plot(values[name], 100 * np.array(values["residuals"]), "o", color=MAIN, markersize=4)
        plain(axis, name, "loss over the law, %")
        axis.set_xscale("log")
        _counts(axis.xaxis)
    return drawing


def _draw_axes(values: Values) -> Figure:
    drawing = Figure(figsize=(9, 3.2), layout="constrained")
    rows = values["rows"]
    kinds = [kind for kind in ("length", "batch") if kind in rows["kind"]]
    for axis, kind in zip(np.atleast_1d(drawing.subplots(1, len(kinds))), kinds, strict=True):
        field = "max_len" if kind == "length" else "batch_tokens"
        for shown, fill in ((kind, MAIN), ("grid", "none")):
            here = [i for i, one in enumerate(rows["kind"]) if one == shown]
            axis.plot(*_at(rows, field, "loss", here), "o", color=MAIN, markerfacecolor=fill)
        _logs(axis, "longest window" if kind == "length" else "interactions in a batch")
    return drawing


def _draw_utilisation(values: Values) -> Figure:
    drawing = Figure(figsize=(9, 2.8), layout="constrained")
    panels = ("nodes", "cores", "gpus") if any(values["gpus"]) else ("nodes", "cores")
    for axis, name in zip(drawing.subplots(1, len(panels)), panels, strict=True):
        minutes, used = values["minutes"], values.get(f"{name}_used")
        axis.step(minutes, values[name], where="post", color=SOFT, label="there")
        if used is not None:
            axis.fill_between(minutes, used, step="post", color=MAIN, alpha=0.6, label="used")
            axis.legend(frameon=False, labelcolor=INK)
        plain(axis, "minutes", {"nodes": "nodes", "cores": "cores", "gpus": "GPUs"}[name])
        axis.set_ylim(bottom=0)
    return drawing


_DRAW: dict[str, Callable[[Values], Figure]] = {
    "loss": loss_figure, "isoflop": _draw_isoflop, "frontier": _draw_frontier, "downstream": _draw_downstream,
    "residuals": _draw_residuals, "axes": _draw_axes, "utilisation": _draw_utilisation,
}  # fmt: skip
_CAPTIONS = {
    "loss": "Lower is better; where points follow their line, the law holds. A point is a run, both axes are "
    "logarithmic; hollow squares were held out and predicted, pale points are runs of equal budgets. Lines are the law "
    "with its 95 % intervals, the dark one the best run for each budget.",
    "isoflop": "The bottom of each curve is the best size for its budget: smaller models lack capacity there, larger "
    "ones data. Curves are parabolas through runs of equal backbone compute, stars bottoms that lie among the sizes.",
    "frontier": "Find a budget below and read the size, the data and the loss above it: what the law says is best, "
    "with 95 % intervals.",
    "downstream": "Points that rise to the right say that a lower loss is worth something. A point is a run: its "
    "ranking, and what a linear model reads about users from its vectors.",
    "residuals": "Points should lie around 0 everywhere: a trend means that the law, or the choice of runs, is wrong. "
    "A point is how far a run lies above the law.",
    "axes": "Full points near hollow ones say that window and batch hardly matter here. Full points are further runs "
    "of the middle size, outside the law; hollow ones are the study's own beside them.",
    "utilisation": "The nearer the filled part is to the line, the less stood idle. The line is what the cluster had, "
    "from the start of the job to the end of the fit; a head without cores is no node, and time in which the study did "
    "not run is left out.",
}


def _runs(rows: Rows) -> str:
    head = ("run", "N", "D", "epochs", "FLOPs, all", "loss", "NDCG@10", "seconds")
    told = [
        (
            row["name"] + (" (held out)" if row["held_out"] else ""),
            f"{row['N']:,}", f"{row['D']:,.0f}", f"{row['epochs']:.2f}", f"{row['flops']:.2e}",
            *((f"{row['loss']:.4f}", f"{row['ndcg@10']:.4f}") if row["loss"] is not None else (row["outcome"], "–")),
            f"{row['seconds']:,.0f}",
        )
        for row in rows
    ]  # fmt: skip
    return listing(head, told)


def _tuning(tuning: Rows) -> str:
    """Losses by size and factor on the ladder's rate, the lowest in brackets."""
    factors = sorted({row["factor"] for row in tuning})
    lines = []
    for size in sorted({row["size"] for row in tuning}):
        here = {row["factor"]: row for row in tuning if row["size"] == size}
        cells = [_tried(here[factor]) for factor in factors]
        lines.append((f"{size:,}", f"{here[factors[0]]['data']:,}", *cells))
    return listing(("size", "interactions", *(f"rate × {factor:g}" for factor in factors)), lines)


def _tried(row: Mapping[str, Any]) -> str:
    told = _number(row["loss"], ".4f")
    return f"[{told}]" if row["chosen"] else told


def _law(law: Mapping[str, Any]) -> str:
    rows = {"form": f"L = {law['law']['formula']}", "points": f"{law['points']['count']}"}
    rows |= {name: _interval(one) for name, one in law["law"]["constants"].items()}
    rows |= {f"{name} (best ∝ C^{name})": _interval(one) for name, one in law.get("exponents", {}).items()}
    rows["form that the points prefer"] = str(law["preferred"] or "too few points to say")
    compared = [
        (one["form"], str(one["num_constants"]), _number(one["aicc"], ".1f"), _number(one["held_out_error"], ".3%"))
        for one in law["comparison"]
    ]
    return facts(rows) + listing(("form", "constants", "AICc", "error on the largest when held out"), compared)


def _floor(beside: Mapping[str, Any]) -> str:
    rows = [
        (
            ", ".join(f"{size:,}" for size in one["left_out"]) or "none", f"{one['runs']}",
            "–" if one["E"] is None else _interval(one["E"]), "yes" if one["inside"] else "no", one["preferred"] or "–",
        )
        for one in beside["laws"]
    ]  # fmt: skip
    head = ("sizes left out", "runs", "E of their law", "holds it", "form they prefer")
    return remark(beside["verdict"]) + listing(head, rows)


def _advice(law: Mapping[str, Any]) -> str:
    lines = [
        f"For {one['C']:.2e} FLOPs of the backbone ({_number(one['flops'], '.2e')} with items and softmax) train "
        f"{_interval(one['N'], ',.0f')} parameters on {_interval(one['D'], ',.0f')} interactions "
        f"({one['epochs']:.3g} epochs of this corpus); expected loss {_interval(one['loss'])}."
        for one in law["optima"]
    ]
    return "".join(remark(line) for line in lines)


def _proof(proof: Rows, date: str) -> str:
    head = ("setting", "form", "predicted loss of a run", "measured", "inside")
    rows = [
        (
            one["setting"], one["form"], _interval({"value": one["predicted"], "low": one["low"], "high": one["high"]}),
            f"{one['measured']:.4f} ({', '.join(f'{seed:.4f}' for seed in one['seeds'])})",
            "yes" if one["inside"] else "no",
        )
        for one in proof
    ]  # fmt: skip
    return listing(head, rows) + remark(
        f"Written on {date}. Until then the study had trained none of these settings, with any seed or learning rate."
    )


def _interval(one: Mapping[str, float | None], style: str = ".4g") -> str:
    if one["low"] is None or one["high"] is None:
        return _number(one["value"], style)
    return f"{_number(one['value'], style)} [{_number(one['low'], style)}, {_number(one['high'], style)}]"


def _number(value: float | None, style: str) -> str:
    return "–" if value is None else format(value, style)


def _at(rows: Values, x: str, y: str, places: Sequence[int]) -> tuple[list[float], list[float]]:
    return [rows[x][i] for i in places], [rows[y][i] for i in places]


def _logs(axis: "mpl.axes.Axes", x_label: str) -> None:
    """Losses over counts, both logarithmic."""
    plain(axis, x_label, "validation loss")
    axis.set(xscale="log", yscale="log")
    _counts(axis.xaxis)
    _losses(axis.yaxis)


def _losses(line: Axis) -> None:
    """Names even places: losses lie within a decade, of which a logarithmic axis would name few places or all."""
    line.set(major_locator=MaxNLocator(5), major_formatter=ScalarFormatter(), minor_locator=NullLocator())


def _counts(line: Axis) -> None:
    """Names places of a logarithmic axis as 2k, 5k, 1M."""
    low, high = line.get_view_interval()
    places = LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,), numticks=6)
    line.set(major_locator=places, major_formatter=EngFormatter(sep=""), minor_locator=NullLocator())
