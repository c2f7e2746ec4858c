"""The page of a model of text: what it answered to prompts that it was trained on and to others, and beside what."""

import json
from collections.abc import Iterator, Mapping

from ray_userrep import storage
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.page import Section, facts, listing, page, remark
from ray_userrep.report.pages.data import describe
from ray_userrep.report.results import REPORT, Result, load_result, machine, read_environment

_SHOWN = {
    "item": ("hr@10", "ndcg@10"),
    "rating": ("rmse", "mae"),
    "text": ("bleu-2", "bleu-4", "rouge1", "rougeL"),
    "verdict": ("accuracy",),
}
_HEADLINES = {"item": ("ndcg@10", 1), "rating": ("rmse", -1)}
Rows = Mapping[str, Mapping[str, Mapping[str, float]]]
_NOTES = {
    "item": "Held-out items, searched for among all items. Counting on takes the number after the highest one seen and "
    "learns nothing: what it gets under the model's own numbers is no merit of a model.",
    "rating": "Errors of the likeliest of the ratings that occur; every answer counts. Smaller is better.",
    "text": "Overlap with what was written, in percent, beside one text for everybody. Explanations are a stand-in: a "
    "frequent word of the reviews, and the first sentence with it.",
    "verdict": "Share of right answers to whether an item is the user's; half of those asked about are drawn.",
}


def draw(folder: str) -> str:
    """Write `<folder>/report.html` from the stored result; returns its place."""
    result = load_result(folder)
    sections = [Section(_title(kind), _table(result, kind) + remark(_NOTES[kind])) for kind in _kinds(result)]
    if result["invalid"]:
        sections.append(Section("Answers that are no item", _invalid(result)))
    sections += [
        Section("Data", facts(describe(result["corpus"]))),
        Section("Run", facts(_facts(folder, result))),
    ]
    uri = storage.join(folder, REPORT)
    storage.write_text(uri, page(f"Model of text: {result['recipe']['name']}", verdict(result), sections))
    return uri


def printed(result: Result) -> str:
    """What a job prints: a line for each prompt and each simple method, and the verdict."""
    return "\n".join([*_lines(result), verdict(result)])


def verdict(result: Result) -> str:
    """Whether the best prompt does better than the best that needs no model, in a sentence a kind of answer."""
    told = []
    for kind, (metric, sign) in _HEADLINES.items():
        ours = {name: one["metrics"] for name, one in result["prompts"].items() if one["kind"] == kind}
        simple = result["baselines"].get(kind, {})
        if any(ours.values()) and simple:
            told.append(_compared({name: one for name, one in ours.items() if one}, simple, metric, sign))
    return " ".join(told) or "Texts are measured by overlap, beside the commonest one of each kind."


def _compared(ours: Rows, simple: Rows, metric: str, sign: int) -> str:
    (best, mine), (other, theirs) = (_best(rows, metric, sign) for rows in (ours, simple))
    word = "better than" if sign * mine > sign * theirs else "worse than" if mine != theirs else "as good as"
    name = metric.upper()
    told = f"By means, {name} of the best prompt ({best}) is {mine:.4f}"
    return f"{told}, {word} the best without a model ({other}), {theirs:.4f}."


def _best(rows: Rows, metric: str, sign: int) -> tuple[str, float]:
    name = max(rows, key=lambda one: sign * rows[one][metric]["mean"])
    return name, rows[name][metric]["mean"]


def _kinds(result: Result) -> list[str]:
    return list(dict.fromkeys(one["kind"] for one in result["prompts"].values()))


def _title(kind: str) -> str:
    return {"item": "Items", "rating": "Ratings", "text": "Texts", "verdict": "Yes or no"}[kind]


def _table(result: Result, kind: str) -> str:
    rows = [[*told, *figures] for told, figures in _rows(result, kind)]
    return listing(["prompt", "in training", "rows", *_SHOWN[kind]], rows)


def _rows(result: Result, kind: str) -> Iterator[tuple[list[str], list[str]]]:
    """Name, whether it was trained on, how many were asked, and figures, of prompts and of what needs no model."""
    for name, one in result["prompts"].items():
        if one["kind"] == kind and one["metrics"]:
            told = [name, "seen" if one["seen"] else "unseen", f"{one['rows']:,}"]
            yield told, [_figure(one["metrics"][metric]) for metric in _SHOWN[kind]]
    for name, metrics in result["baselines"].get(kind, {}).items():
        yield [name, "no model", ""], [_figure(metrics[metric]) for metric in _SHOWN[kind]]


def _lines(result: Result) -> Iterator[str]:
    for kind in _kinds(result):
        for (name, seen, _), figures in _rows(result, kind):
            named = "  ".join(f"{metric} {figure}" for metric, figure in zip(_SHOWN[kind], figures, strict=True))
            yield f"{name:32s} {seen:8s} {named}"
    for family, shares in result["invalid"].items():
        without, within = shares["without the trie"], shares["with the trie"]
        yield f"{family:32s} no item: {without:.1%} of answers without the trie, {within:.1%} with it"


def _invalid(result: Result) -> str:
    names = ["without the trie", "without the trie, repeated", "with the trie"]
    rows = [[family, *(f"{shares[name]:.1%}" for name in names)] for family, shares in result["invalid"].items()]
    return listing(["family", *names], rows)


def _figure(metric: dict[str, float]) -> str:
    interval = f" [{metric['low']:.4f}, {metric['high']:.4f}]" if "low" in metric else ""
    return f"{metric['mean']:.4f}{interval}"


def _facts(folder: str, result: Result) -> dict[str, str]:
    recipe = Recipe.model_validate(result["recipe"])
    return {
        "recipe": recipe.name,
        "seed": str(recipe.seed),
        "parameters": ", ".join(f"{kind} {count:,}" for kind, count in result["parameters"].items()),
        "vocabulary": f"{result['vocabulary']:,} tokens, ids {recipe.generative.ids}",
        "seconds": ", ".join(f"{name} {seconds:.0f}" for name, seconds in result["timings"].items()),
        **machine(read_environment(folder)),
        "folder": folder,
        "changed from defaults": json.dumps(recipe.model_dump(mode="json", exclude_defaults=True, exclude={"run"})),
    }
