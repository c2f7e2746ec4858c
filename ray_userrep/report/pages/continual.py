"""The page of a sequence of tasks: how good each is at each time, what was forgotten, how full the masks are."""

from typing import Any

from ray_userrep import storage
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import figures
from ray_userrep.report.heat import Cell, heat_table, strengths
from ray_userrep.report.page import Section, drawing, facts, listing, metrics_table, page, ranked, remark
from ray_userrep.report.pages.data import order_fact
from ray_userrep.report.results import REPORT, Result, load_result, machine, read_environment

_TOLD = {
    "conure": "conure: masks in one encoder",
    "in_turn": "in_turn: one encoder fine-tuned task by task (SinMoAll)",
    "fine_all": "fine_all: the first task's encoder fine-tuned anew for each task (FineAll)",
    "head_only": "head_only: heads on the first task's encoder",
    "single": "single: a model for each task (SinMo)",
    "multi_task": "multi_task: one encoder, in which all tasks so far train together",
}


def draw(folder: str) -> str:
    """Write `<run>/report.html` from the stored result; returns its place."""
    result = load_result(folder)
    recipe = Recipe.model_validate(result["recipe"])
    sections = [Section("Forgotten at the end", _over_time(result) + _forgetting(result)), *_at_the_end(result)]
    if result["over_single"]:
        sections.append(Section("Beside a model for each task", _over_single(result)))
    sections += [Section(_TOLD[name], _matrix(result, name)) for name in result["methods"]]
    if "conure" in result["methods"]:
        sections.append(Section("Weights in use", _used(result, recipe)))
    sections += [Section("Cost", _cost(result)), Section("Run", facts(_facts(recipe, folder, result)))]
    uri = storage.join(folder, REPORT)
    storage.write_text(uri, page(f"Continual: {recipe.name}", lead(result), sections))
    return uri


def printed(result: Result) -> str:
    """The table of figures at the end, and the verdict, that the job prints."""
    lines = []
    for task, (name, told) in enumerate(result["tasks"].items()):
        lines.append(f"{name}, {told['headline']}: when learned, at the end, forgotten")
        for method, found in result["methods"].items():
            first, last = found["matrix"][task][task]["mean"], found["matrix"][task][-1]["mean"]
            lines.append(f"  {method:28s} {first:.4f}  {last:.4f}  {found['forgetting'][task]:+.4f}")
        lines += [f"  {system:28s}         {cell['mean']:.4f}" for system, cell in told["baselines"].items()]
    return "\n".join([*lines, lead(result)])


def lead(result: Result) -> str:
    """What one encoder for all tasks forgot, and how it compares with an encoder for each, in a few sentences."""
    said = [_kept(result, name) for name in ("conure", "in_turn") if name in result["methods"]]
    if "conure" in result["over_single"]:
        said.append(_beside(result))
    if "conure" in result["methods"]:
        said.append(_behind_baselines(result))
    return " ".join(filter(None, said)) or "Nothing was learned in one encoder."


def _kept(result: Result, method: str) -> str:
    found = result["methods"][method]
    if all(cell is not False for row in found["unchanged"] for cell in row):
        return f"{method}: all earlier tasks predict bit for bit what they did when they were learned."
    lost = []
    for number, (name, told) in enumerate(result["tasks"].items()):
        if found["forgetting"][number] > 0:
            last = found["matrix"][number][-1]["mean"]
            best = last + found["forgetting"][number]
            lost.append(f"{name} ({told['headline']} from {best:.4f} to {last:.4f})")
    return f"{method} forgot {', '.join(lost)}." if lost else f"{method}: no figure got worse, predictions changed."


def _behind_baselines(result: Result) -> str:
    """Where a simple baseline is better than conure at the end."""
    behind = []
    for number, (name, told) in enumerate(result["tasks"].items()):
        ours = result["methods"]["conure"]["matrix"][number][-1]["mean"]
        best = max(told["baselines"], key=lambda system: told["baselines"][system]["mean"], default=None)
        if best is not None and told["baselines"][best]["mean"] > ours:
            behind.append(f"{name} ({best}, {told['baselines'][best]['mean']:.4f})")
    return f"A simple baseline is ahead of it on {', '.join(behind)}." if behind else ""


def _beside(result: Result) -> str:
    """Conure beside a model for each task."""
    verdicts: dict[str, list[str]] = {"better on": [], "worse on": [], "not told apart on": []}
    for name, d in zip(result["tasks"], result["over_single"]["conure"], strict=True):
        words = "better on" if d["low"] > 0 else "worse on" if d["high"] < 0 else "not told apart on"
        verdicts[words].append(name)
    found = [f"{words} {', '.join(names)}" for words, names in verdicts.items() if names]
    return f"Beside a model for each task, conure is {'; '.join(found)}."


def _over_time(result: Result) -> str:
    """A panel for each task that others follow: the methods' figures from when it was learned to the end."""
    panels: dict[str, dict[str, figures.Curve]] = {}
    for number, (name, told) in enumerate(list(result["tasks"].items())[:-1]):
        times = list(range(number + 1, len(result["tasks"]) + 1))
        panels[f"{name} ({told['headline']})"] = {
            method: (times, [cell["mean"] for cell in found["matrix"][number][number:]])
            for method, found in result["methods"].items()
        }
    caption = (
        "A line that stays level forgets nothing, one that falls forgets; equal figures lie on each other, the table "
        "has them all. Means over users and seeds on test, after each of the tasks that are learned in turn."
    )
    return drawing(lambda: figures.curves(panels, "tasks learned so far"), caption)


def _forgetting(result: Result) -> str:
    tasks = [f"{n}. {name}" for n, name in enumerate(result["tasks"], 1)]
    rows = [[method, *(f"{value:.4f}" for value in found["forgetting"])] for method, found in result["methods"].items()]
    note = "How much of each task's best figure since it was learned was lost by the end; 0: nothing was forgotten."
    return listing(["method", *tasks], rows) + remark(note)


def _at_the_end(result: Result) -> list[Section]:
    """A table for each task: the methods' last figures and the baselines'."""
    sections = []
    for number, (name, told) in enumerate(result["tasks"].items()):
        metric = told["headline"]
        last = {method: found["matrix"][number][-1] for method, found in result["methods"].items()}
        rows = ranked({system: {metric: cell} for system, cell in (last | told["baselines"]).items()}, metric)
        counts = ", ".join(f"{count:,} {part}" for part, count in told["users"].items())
        note = f"Best on test is {next(iter(rows))}. Users: {counts}. "
        note += "Brackets: 95 % bootstrap intervals over users and seeds."
        table = metrics_table(rows, [metric], "conure", note)
        sections.append(Section(f"{number + 1}. {name}, at the end", table))
    return sections


def _over_single(result: Result) -> str:
    rows = []
    for method, differences in result["over_single"].items():
        for name, d in zip(result["tasks"], differences, strict=True):
            interval = f"{d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
            rows.append([method, name, result["tasks"][name]["headline"], interval, f"{d['p']:.3f}"])
    note = (
        "Differences are paired over the same users and seeds; p of the paired randomisation test, not corrected for "
        "the number of comparisons. A model for each task is trained from scratch on that task alone."
    )
    return listing(["method", "task", "figure", "over a model of its own", "p"], rows) + remark(note)


def _matrix(result: Result, method: str) -> str:
    """Tasks by time; tints compare a task's figures with its own at other times, by any method."""
    found, tasks = result["methods"][method], result["tasks"]
    rows = []
    for number, (name, told) in enumerate(tasks.items()):
        tint = _tints(result, number)
        cells = [cell and _tinted(cell, tint) for cell in found["matrix"][number]]
        rows.append((f"{number + 1}. {name} ({told['headline']})", cells))
    note = "Test figures with 95 % bootstrap intervals; tints run from a task's worst figure here to its best."
    return heat_table("task", [f"after {n}" for n in range(1, len(tasks) + 1)], rows) + remark(note)


def _tints(result: Result, task: int) -> dict[float, float]:
    values = [cell["mean"] for found in result["methods"].values() for cell in found["matrix"][task] if cell]
    return dict(zip(values, strengths(values), strict=True))


def _tinted(cell: dict[str, Any], tint: dict[float, float]) -> Cell:
    return Cell(f"{cell['mean']:.4f}", f"[{cell['low']:.4f}, {cell['high']:.4f}]", tint[cell["mean"]])


def _used(result: Result, recipe: Recipe) -> str:
    used = result["methods"]["conure"]["used"]
    rows = [(layer, [Cell(f"{100 * at[layer]:.1f} %", "", at[layer]) for at in used]) for layer in used[0]]
    note = (
        f"Share of each layer's weights that some task owns; each takes the largest {1 - recipe.continual.prune:.0%} "
        "of what is free. Item vectors, norms and all else without a mask belong to the first task."
    )
    return heat_table("layer", [f"after {n}" for n in range(1, len(result["tasks"]) + 1)], rows) + remark(note)


def _cost(result: Result) -> str:
    rows = [
        [method, name, f"{found['steps'][number]:.0f}", f"{found['seconds'][number]:.1f}"]
        for method, found in result["methods"].items()
        for number, name in enumerate(result["tasks"])
    ]
    note = (
        "Steps and seconds of training a task, retraining behind the pruning included, without validation. The first "
        "task is learned once for all methods without masks."
    )
    return listing(["method", "task", "steps", "seconds"], rows) + remark(note)


def _facts(recipe: Recipe, run_uri: str, result: Result) -> dict[str, str]:
    return {
        "recipe": recipe.name,
        **order_fact(result["counts"]["order"]),
        "seeds": str(recipe.continual.num_seeds),
        "earlier tasks and later tests": "no overlap" if result["overlap"] else "not checked",
        **machine(read_environment(run_uri)),
        "run folder": run_uri,
    }
