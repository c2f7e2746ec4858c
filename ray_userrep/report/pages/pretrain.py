"""The page of a pretraining or an evaluation: how it went, and whether it was worth it."""

import json

import numpy as np

from ray_userrep import storage
from ray_userrep.evaluation.repeats import MANY
from ray_userrep.evaluation.statistics import HEADLINE, format_table
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import figures
from ray_userrep.report.page import Metric, Section, drawing, facts, metrics_table, neighbours, page, ranked, remark
from ray_userrep.report.pages.data import describe, span
from ray_userrep.report.results import REPORT, Result, load_result, machine, read_environment
from ray_userrep.training.runs import read_records

_METRICS = ("hr@10", HEADLINE, "mrr@10")
_VALIDATED = {HEADLINE: "NDCG@10", "log likelihood": "log likelihood", "future r2": "R² of newer halves"}
_MEASURES = {"auc": "AUC", "r2": "R²"}
_QUESTIONS = {
    "present": "of how users' histories differ",
    "future": "of how their newer halves differ, from the older halves alone",
}


def draw(folder: str) -> str:
    """Write `<folder>/report.html` from the stored result; returns its place."""
    result = load_result(folder)
    recipe = Recipe.model_validate(result["recipe"])
    name = recipe.name
    rows = ranked(result["baselines"] | {name: result["metrics"]}, HEADLINE)
    drawn = drawing(
        lambda: figures.svg(figures.bars({s: row[HEADLINE] for s, row in rows.items()}, "NDCG@10, all items", name)),
        "The longer the bar, the nearer to the top the held-out item is ranked: 1 where it is always first, 0 where it "
        f"is never among ten. Bars are means over {_ranked(result)}, whiskers 95 % bootstrap intervals over users.",
    )
    sections = [Section("Result", drawn + metrics_table(rows, _METRICS, name, _protocol(recipe, result)))]
    if result["slices"]:
        sections.append(Section("By how often items occur", _slices(result, name)))
    records = read_records(folder)
    if records:
        sections.append(Section("Training", _curves(records)))
    if result["profile"]:
        sections.append(Section("What the vectors say about users", _profile(result)))
    if found := result["universality"]:
        sections.append(
            Section("What the vectors tell without labels", _universality(found, _sample(result, "universality")))
        )
    if near := result["nearest_items"]:
        sections.append(Section("Nearest items by learned vectors", neighbours(near)))
    if result["user_map"] is not None:
        sections.append(Section("Users", _user_map(result)))
    sections += [
        Section("Data", facts(describe(result["corpus"]))),
        Section("Run", facts(_facts(recipe, folder, result, records))),
    ]
    uri = storage.join(folder, REPORT)
    storage.write_text(uri, page(f"User encoder: {name}", verdict(result), sections))
    return uri


def _protocol(recipe: Recipe, result: Result) -> str:
    seen = "items of the history are not ranked" if recipe.evaluation.exclude_seen else "repeats allowed"
    counted, repeats = _sample(result, "fitted"), _repeats(result)
    return (
        f"{recipe.split.rule.replace('_', ' ')}, full ranking of {result['counts']['items']:,} items, {seen}; "
        f"{_ranked(result)}; split {result['split_fingerprint']}. "
        f"Baselines are tuned on validation{f' and count {counted}' if counted else ''}. "
        "Brackets: 95 % bootstrap intervals over users."
        f"{f' {repeats}.' if repeats else ''}"
    )


def _repeats(result: Result) -> str:
    """What leaving out items of the history hides, where that is much; empty where it is not."""
    if not result["recipe"]["evaluation"]["exclude_seen"] or result["repeats"] < MANY:
        return ""
    return (
        f"{result['repeats']:.0%} of the items to be found were in their user's history before, of which no other item "
        "competes with them (evaluation.exclude_seen): set it to false where repeats count"
    )


def _ranked(result: Result) -> str:
    """Whose targets were ranked."""
    return _sample(result, "ranked") or f"{result['counts']['test_users']:,} users"


def _sample(result: Result, name: str) -> str:
    """Which users were taken for what is named, where it was a sample."""
    sample = result["samples"].get(name)
    return "" if sample is None else f"{sample['users']:,} of {sample['of']:,} users, a random sample by hashed id"


def _slices(result: Result, ours: str) -> str:
    """NDCG@10 of each system over the items of the head, the torso and the tail: a column a slice."""
    names = {slice: f"{slice} ({found['targets']:,} targets)" for slice, found in result["slices"].items()}
    systems = {system: system for system in result["baselines"]} | {"encoder": ours}
    rows = {
        shown: {names[slice]: found["metrics"][system][HEADLINE] for slice, found in result["slices"].items()}
        for system, shown in systems.items()
    }
    note = (
        "NDCG@10 where the item to be found is among the tenth of the catalogue that occurs most (head), in the rest "
        "of that half (torso), or in the other half (tail)."
    )
    return metrics_table(rows, list(names.values()), ours, note)


def _profile(result: Result) -> str:
    """A column an attribute, a row a kind of features; what both together add, in a line below."""
    rows: dict[str, dict[str, Metric]] = {}
    notes = []
    for name, attribute in result["profile"].items():
        headline, users = attribute["headline"], attribute["users"]
        label = f"{name} ({_MEASURES[headline]})"
        for system, metrics in attribute["metrics"].items():
            if headline in metrics:
                rows.setdefault(system, {})[label] = metrics[headline]
        notes.append(f"{name}: {users['train']:,} users learned from, {users['test']:,} tested")
        if (over := attribute.get("both_over_best_simple")) is not None:
            notes[-1] += f"; vector and counts together over {over['baseline']} alone {_told(over)}"
    labels = list(dict.fromkeys(label for metrics in rows.values() for label in metrics))
    read = "A linear model reads each attribute from what the row names; the encoder never saw one. "
    notes += [f"all are of {sampled}"] if (sampled := _sample(result, "fitted")) else []
    return metrics_table(ranked(rows, labels[0]), labels, "encoder", read + ". ".join(notes) + ".")


def _universality(found: Result, sampled: str) -> str:
    """What vectors tell of users' items, without labels: a column a question, a row a kind of vectors."""
    columns = {("present", "r2"): "whole history (R²)", ("future", "r2"): "newer half (R²)"}
    columns[("future", "recall@50")] = "newer half (recall@50)"
    shown = {column: label for column, label in columns.items() if column[0] in found}
    rows: dict[str, dict[str, Metric]] = {}
    for (part, metric), label in shown.items():
        for system, metrics in found[part]["metrics"].items():
            rows.setdefault(system, {})[label] = metrics[metric]
    note = (
        "How to read this: 1 where a linear map of the vector tells all of what users took, 0 where it tells no more "
        "than everybody's mean. First of the whole history, from the vector of all of it; then of its newer half, from "
        "the vector of the older half. Recall: of the items taken in the newer half, the share among the 50 likeliest. "
        "No labels are used; what a task asks for may be little of it."
    )
    told = [f"{part}: {one['users']['test']:,} users tested" for part, one in found.items()]
    told += [f"all are of {sampled}"] if sampled else []
    names = list(shown.values())
    return metrics_table(ranked(rows, names[0]), names, "encoder", f"{note} {', '.join(told)}.")


def _curves(records: list[Result]) -> str:
    train = [r for r in records if r["kind"] == "train"]
    valid = [r for r in records if r["kind"] == "validation"]
    panels: dict[str, dict[str, figures.Curve]] = {
        "training loss": {"loss": ([r["epoch"] for r in train], [r["loss"] for r in train])}
    }
    if valid:
        per_epoch = train[-1]["step"] / train[-1]["epoch"]
        panels |= {
            f"validation {label}": {label: ([r["step"] / per_epoch for r in valid], [r[metric] for r in valid])}
            for metric, label in _VALIDATED.items()
            if metric in valid[0]
        }
    caption = "An epoch is once through the training users; the loss falls while something is learned."
    if valid:
        caption += f" The encoder kept is the one with the best {list(panels)[-1]}."
    return drawing(lambda: figures.curves(panels, "epoch"), caption)


def _user_map(result: Result) -> str:
    """The plane that was found for user vectors, or why there is none."""
    found = result["user_map"]
    if found["failed"] is not None:
        return remark(f"Users could not be laid out on a plane: {found['failed']}")
    shown = f"{len(found['labels']):,} of {result['counts']['users']:,} users"
    caption = (
        "Points near each other are users with similar vectors; distances between groups, and the axes, say nothing. "
        f"A t-SNE map of {shown}, coloured by {found['attribute']}: those with five or more interactions, as many of "
        "each bucket of the corpus."
    )
    return drawing(lambda: figures.user_map(np.array(found["xy"]), found["labels"]), caption)


def _facts(recipe: Recipe, folder: str, result: Result, records: list[Result]) -> dict[str, str]:
    environment = read_environment(folder)
    train = [r for r in records if r["kind"] == "train"]
    rows = {
        "recipe": recipe.name,
        "seed": str(recipe.seed),
        "parameters": ", ".join(f"{kind} {count:,}" for kind, count in result["parameters"].items()),
    }
    if train:
        rate, wait = (float(np.median([r[name] for r in train])) for name in ("interactions_per_second", "data_wait"))
        rows |= {
            "steps": f"{train[-1]['step']:,} ({train[-1]['epoch']:.1f} epochs)",
            "rate": f"{rate:,.0f} interactions/s, waiting for data {wait:.1%}",
            "device": _device(train),
            "workers": f"{recipe.train.num_workers}, ZeRO-{recipe.train.zero.stage}, {recipe.train.precision}",
        }
    changed = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"run"})
    return rows | {
        "seconds": ", ".join(f"{name} {seconds:.0f}" for name, seconds in result["timings"].items()),
        "versions": ", ".join(f"{name} {v}" for name, v in environment.get("versions", {}).items() if v),
        **machine(environment),
        "folder": folder,
        "changed from defaults": json.dumps(changed),
    }


def _device(train: list[Result]) -> str:
    """How hard it worked, and the most memory that the first worker had."""
    shares = [record["flop_utilisation"] for record in train if "flop_utilisation" in record]
    share = [f"{np.median(shares):.0%} of what a large matrix product reaches"] if shares else []
    return ", ".join([*share, f"at most {train[-1]['peak_memory_bytes'] / 1e9:.1f} GB"])


def printed(result: Result) -> str:
    """The table and the verdict that a job prints."""
    rows = ranked(result["baselines"] | {result["recipe"]["name"]: result["metrics"]}, HEADLINE)
    lines = [format_table(rows, list(_METRICS)), verdict(result)]
    lines += [f"repeats   {repeats}"] if (repeats := _repeats(result)) else []
    lines += [_profile_line(name, attribute) for name, attribute in result["profile"].items()]
    lines += [_universality_line(result["universality"])] if result["universality"] else []
    return "\n".join(lines)


def _profile_line(name: str, attribute: Result) -> str:
    """How well an attribute is predicted from the vectors, beside the best that needs no training, in a sentence."""
    headline, metrics = attribute["headline"], attribute["metrics"]
    words = f"profile   {name} predicted from the vectors with {_MEASURES[headline]} "
    words += f"{metrics['encoder'][headline]['mean']:.3f}"
    if (over := attribute.get("over_best_simple")) is None:
        return words
    words += f" ({over['baseline']} alone: {metrics[over['baseline']][headline]['mean']:.3f}; {_told(over)})"
    added = attribute["both_over_best_simple"]
    return f"{words}; {added['system']} together: {metrics[added['system']][headline]['mean']:.3f} ({_told(added)})"


def _universality_line(found: Result) -> str:
    """What vectors tell of users' items, as shares of how users differ, in a sentence."""
    told = [
        f"{part['metrics']['encoder']['r2']['mean']:.1%} {_QUESTIONS[question]}" for question, part in found.items()
    ]
    words = f"no labels the vectors explain {', '.join(told)}"
    if (over := found.get("future", {}).get("over_best_simple")) is None:
        return words
    simple = found["future"]["metrics"][over["baseline"]]["r2"]["mean"]
    return f"{words} ({over['baseline']}: {simple:.1%}; {_told(over)})"


def _told(over: Result) -> str:
    """A paired difference with its interval, and whether it shows one."""
    shown = "" if over["low"] > 0 or over["high"] < 0 else "no difference shown, "
    return f"{shown}{over['mean']:+.3f} [{over['low']:+.3f}, {over['high']:+.3f}]"


def learned(result: Result) -> str:
    """What an encoder was trained on and how well it does, as a model card says it."""
    facts, counts = result["corpus"], result["counts"]
    rows = [
        f"- {counts['interactions']:,} interactions of {counts['users']:,} users with {counts['items']:,} items, "
        f"{span(facts)} (reader `{facts['reader']}`)",
        f"- recipe `{result['recipe']['name']}`, seed {result['seed']}",
        f"- next items: NDCG@10 {_interval(result['metrics']['ndcg@10'])}. {verdict(result)}",
    ]
    rows += [f"- {_profile_line(name, found).removeprefix('profile   ')}" for name, found in result["profile"].items()]
    return "\n".join(rows)


def _interval(metric: dict[str, float]) -> str:
    return f"{metric['mean']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def verdict(result: Result) -> str:
    """Whether pretraining won, in one sentence, also when it did not."""
    difference = result.get("over_best_baseline")
    if difference is None:
        return "No baselines were measured."
    interval = f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    if difference["low"] > 0:
        words = "The encoder beats the best tuned baseline"
    elif difference["high"] < 0:
        words = "The best tuned baseline beats the encoder"
    else:
        words = "The encoder and the best tuned baseline cannot be told apart"
    return f"{words} ({difference['baseline']}): NDCG@10 {interval}, paired over {_ranked(result)}."
