"""The page of the objectives' grid: the two judges against each other, what each choice is worth, every cell.

    python benchmarks/objectives_page.py

Reads benchmarks/results/objectives.json, writes objectives.html where it is called and the picture of the
documentation; objectives.py calls it when the grid is complete.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from ray_userrep.report import figures
from ray_userrep.report.page import Section, facts, figure, metrics_table, page

RESULTS, IMAGES = Path(__file__).parent / "results", Path(__file__).parents[1] / "docs" / "images"
PAGE = Path("objectives.html")
NAMES = {"ml-1m": "ML-1M", "online_retail": "Online Retail"}
FACTORS: dict[str, Callable[[dict[str, Any]], str]] = {
    "objective": lambda cell: cell["objective"].split()[0],
    "views (CL)": lambda cell: cell["objective"].removeprefix("CL ") if cell["objective"].startswith("CL") else "",
    "readout (AE)": lambda cell: cell["readout"] if cell["objective"] == "AE" else "",
    "side heads (AE)": lambda cell: ("with" if cell["heads"] else "without") if cell["objective"] == "AE" else "",
    "negatives": lambda cell: cell["negatives"],
    "backbone": lambda cell: cell["backbone"],
}
Row = dict[str, Any]


def write_page() -> None:
    """Write page and picture from the recorded grid."""
    study = json.loads((RESULTS / "objectives.json").read_text())
    rows = [row for row in study["cells"] if "ranking" in row]
    drawn = two_judges(rows)
    figures.save(drawn, IMAGES / "objectives.png")
    sections = [
        Section("Two judges", figure(figures.svg(drawn), _caption(study))),
        Section("What each choice is worth", effects(rows)),
    ]
    sections += [Section(f"Every cell: {NAMES[data]}", table(_of(rows, data))) for data in NAMES]
    left_out = {_key(row): row.get("refused") or row.get("diverged", "") for row in study["cells"] if row not in rows}
    sections.append(Section("Refused or diverged", facts(left_out) if left_out else "<p>None.</p>"))
    sections.append(Section("How it was run", facts(_how(study))))
    lead = (
        f"{len(rows)} encoders of about 98,000 backbone parameters, each trained on {study['tokens']:,} interactions: "
        "which objective, readout, negatives, side information and backbone give the best user vector?"
    )
    PAGE.write_text(page("Objectives compared", lead, sections))


def two_judges(rows: list[Row]) -> Any:
    """Ranking against profile, a panel a data set, a colour an objective and readout."""
    panels: dict[str, dict[str, figures.Curve]] = {}
    for data, name in NAMES.items():
        groups: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for row in _of(rows, data):
            cell = row["cell"]
            xs, ys = groups[f"{cell['objective'].split()[0]} {cell['readout']}"]
            xs.append(row["ranking"]["ndcg@10"]["mean"])
            ys.append(profile_of(row))
        panels[name] = dict(sorted(groups.items()))
    return figures.scatter(panels, "NDCG@10 of the held-out item", "AUC of user attributes (mean)")


def effects(rows: list[Row]) -> str:
    """Means over everything else for each level of each factor, and the best cell of each."""
    lines: dict[str, str] = {}
    for data, name in NAMES.items():
        for factor, level_of in FACTORS.items():
            levels: dict[str, list[Row]] = defaultdict(list)
            for row in _of(rows, data):
                levels[level_of(row["cell"])].append(row)
            told = [f"{level}: {_means(group)}" for level, group in sorted(levels.items()) if level]
            lines[f"{name}: {factor}"] = "; ".join(told)
    return facts(lines) + "<p class='note'>NDCG@10 / AUC, means over all other choices, best in brackets.</p>"


def _means(group: list[Row]) -> str:
    ndcg = [row["ranking"]["ndcg@10"]["mean"] for row in group]
    auc = [profile_of(row) for row in group]
    return f"{mean(ndcg):.3f} ({max(ndcg):.3f}) / {mean(auc):.3f} ({max(auc):.3f})"


def table(rows: list[Row]) -> str:
    """All cells of one data set with intervals, the best ranking first."""
    attributes = sorted(rows[0]["profile"]) if rows else []
    ordered = sorted(rows, key=lambda row: -row["ranking"]["ndcg@10"]["mean"])
    shown = {}
    for row in ordered:
        profile = {f"{name} auc": row["profile"][name]["metrics"]["encoder"]["auc"] for name in attributes}
        shown[_key(row)] = {"ndcg@10": row["ranking"]["ndcg@10"]} | profile
    names = ["ndcg@10", *(f"{name} auc" for name in attributes)]
    return metrics_table(shown, names, "", "Brackets: 95 % bootstrap intervals over users.")


def profile_of(row: Row) -> float:
    """The mean AUC over the attributes of the data set."""
    return mean(attribute["metrics"]["encoder"]["auc"]["mean"] for attribute in row["profile"].values())


def _of(rows: Iterable[Row], data: str) -> list[Row]:
    return [row for row in rows if row["cell"]["data"] == data]


def _key(row: Row) -> str:
    cell = row["cell"]
    heads = " + side heads" if cell["heads"] else ""
    return f"{cell['objective']}, {cell['readout']}{heads}, negatives {cell['negatives']}, {cell['backbone']}"


def _caption(study: dict[str, Any]) -> str:
    return (
        "Each point is one encoder. To the right: better next items. Up: more of the user's attributes can be read "
        f"from the frozen vector by a linear model. Item counts read: {_counts(study)}."
    )


def _counts(study: dict[str, Any]) -> str:
    found = study["item_counts"]
    return "; ".join(
        f"{NAMES[data]} " + ", ".join(f"{name} {auc:.3f}" for name, auc in attributes.items())
        for data, attributes in found.items()
    )


def _how(study: dict[str, Any]) -> dict[str, str]:
    environment = study["environment"]
    seconds = sum(row["seconds"] for row in study["cells"])
    return {
        "budget": f"{study['tokens']:,} interactions a cell; {seconds / 60:.0f} core minutes in all",
        "width": str(study["width"]),
        "machine": f"{environment['cores']} cores, {environment['processor']}, GPU {environment['gpu'] or 'none'}",
        "versions": ", ".join(f"{name} {v}" for name, v in environment["versions"].items() if v),
        "commit": str(environment["commit"]),
        "date": environment["date"],
        "command": "python benchmarks/objectives.py",
    }


if __name__ == "__main__":
    write_page()
