"""What happens inside one of our steps: its share of the matrix-product peak, and a picture of where it goes."""

from typing import Any

from matplotlib.figure import Figure
from peers.runs import BARE, Case, Row, Runner

_COLOURS = ("#1f6fb2", "#2a9d6f", "#c2a11f", "#d9772b", "#b5417b", "#8a5a3c", "#8fa1b3")
_LABELLED = 4.0  # per cent; a narrower piece has no room for its number


def look(cases: list[Case], rows: dict[str, dict[str, Row]], run: Runner) -> tuple[float, Figure]:
    """The peak, in FLOP/s, and the picture; each case's row of ours that came out well is given its own figures."""
    peak: float = run(BARE, cases[0].job | {"measure": "peak"})["flops_per_second"]
    profiles: dict[str, dict[str, float]] = {}
    for case in cases:
        row = rows[case.name][BARE]
        counted, profiled = (run(BARE, case.job | {"measure": measure}) for measure in ("flops", "profile"))
        if {row["outcome"], counted["outcome"], profiled["outcome"]} != {"ok"}:
            continue
        row["flops_per_target"] = counted["flops_per_target"]
        row["flops_per_second"] = row["flops_per_target"] * row["targets_per_second"]
        row["share_of_peak"] = row["flops_per_second"] / peak
        row["step_ms"] = profiles[case.name] = profiled["step_ms"]
        print(f"{case.name:34s} {row['share_of_peak']:.1%} of {peak / 1e9:,.0f} GFLOP/s", flush=True)
    return peak, picture(profiles)


def picture(profiles: dict[str, dict[str, float]]) -> Figure:
    """One bar a case, cut by the part of the step that it went to; milliseconds in, per cent out."""
    drawing = Figure(figsize=(9, 0.6 * len(profiles) + 1.6), layout="constrained")
    axis: Any = drawing.subplots()
    for place, parts in enumerate(reversed(profiles.values())):
        total, left = sum(parts.values()), 0.0
        for colour, (part, milliseconds) in zip(_COLOURS, parts.items(), strict=True):
            share = 100 * milliseconds / total
            axis.barh(place, share, left=left, color=colour, height=0.62, label=part if place == 0 else None)
            if share >= _LABELLED:
                axis.annotate(f"{share:.0f}", (left + share / 2, place), ha="center", va="center", color="white")
            left += share
        axis.annotate(f"{total:.0f} ms", (101, place), va="center", annotation_clip=False)
    axis.set_yticks(range(len(profiles)), list(reversed(profiles)))
    axis.set_xlabel("share of an optimiser step, %")
    axis.set_xlim(0, 100)
    axis.tick_params(length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    drawing.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return drawing
