"""The page of a transfer: which arm is how good, at what cost, with how many labels, and whether pretraining helped."""

from ray_userrep import storage
from ray_userrep.evaluation.statistics import format_table
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report import figures
from ray_userrep.report.page import Section, drawing, facts, listing, metrics_table, page, ranked, remark
from ray_userrep.report.pages import calibration, fusion
from ray_userrep.report.pages.data import order_fact
from ray_userrep.report.results import REPORT, Result, load_result, machine, read_environment

NEGATIVE = "negative transfer"
_INDUCTIVE = {
    "text",
    "whitened_moe",
    "words",
    "side",
}  # kinds of items whose vectors are made from what is known of them


def draw(folder: str) -> str:
    """Write `<run>/report.html` from the stored result; returns its place."""
    result = load_result(folder)
    recipe = Recipe.model_validate(result["recipe"])
    sections = []
    for name, task in result["tasks"].items():
        sections += _task_sections(name, task, recipe)
    sections.append(Section("Run", facts(_facts(recipe, folder, result))))
    uri = storage.join(folder, REPORT)
    storage.write_text(uri, page(f"Transfer: {recipe.name}", lead(result), sections))
    return uri


def printed(result: Result) -> str:
    """The tables and the verdict that the job prints, at the largest label share."""
    lines = []
    for name, task in result["tasks"].items():
        most = _most(task)
        lines += [f"{name}, {most['train_users']:,} training users, {task['users']['test']:,} test users"]
        lines += [format_table(_ranked(most["metrics"], task), task["measures"])]
        lines += [
            f"  {arm} over scratch {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}], p {d['p']:.3f}: {d['verdict']}"
            for arm, d in most["over_scratch"].items()
        ]
        lines += [f"  {fusion.sentence(task)}"] if task["fusion"] else []
        lines += [f"  {fusion.thin_users(task)}"] if _asks_labels(task) else []
        lines += [f"  encoder: {kept(task)}"]
    return "\n".join([*lines, _pretrainings(Recipe.model_validate(result["recipe"])), lead(result)])


def kept(task: Result) -> str:
    """Which adapted encoder was kept and where, in a line; also what did better and cannot be."""
    found = task["kept"]
    if found is None:
        return "none kept: transfer.keep is empty, or no arm can be written as plain weights"
    words = (
        f"the one fit that validated best, {found['arm']} with seed {found['seed']}, read out at {found['readout']}, "
        f"in {found['uri']}"
    )
    if found["head"]:
        words += f", {calibration.sentence(found['head'])}"
    if found["better"]:
        words += (
            f" (better on validation, with parts that plain weights have no place for: {', '.join(found['better'])})"
        )
    return words


def lead(result: Result) -> str:
    """Where pretraining helped and where it hurt, in a few sentences."""
    found: dict[str, list[str]] = {}
    for name, task in result["tasks"].items():
        for share, at in task["shares"].items():
            for arm, difference in at["over_scratch"].items():
                found.setdefault(difference["verdict"], []).append(f"{arm} ({name}, {_percent(share)} of the labels)")
    best = " ".join(_best(name, task) for name, task in result["tasks"].items())
    total = sum(map(len, found.values()))
    if not total:
        return f"{best} Nothing was compared with training from scratch."
    order = ("better than scratch", "worse than scratch", NEGATIVE)
    parts = [f"{words.capitalize()}: {', '.join(found[words])}." for words in order if words in found]
    unclear = len(found.get("no difference shown", []))
    return " ".join([best, *parts, *([f"No difference shown in {unclear} of {total} comparisons."] if unclear else [])])


def _best(name: str, task: Result) -> str:
    """The arm that validation chose at all labels, and the best simple method, which the test itself picks."""
    most, arm = _most(task), chosen(task)
    told = f"{name}: validation chose {arm}, {task['headline']} {_figure(task, arm)} on test"
    if not most["baselines"]:
        return f"{told}."
    simple = next(iter(_ranked({name: most["metrics"][name] for name in most["baselines"]}, task)))
    return f"{told}; the best simple method, {simple}, has {_figure(task, simple)}."


def chosen(task: Result) -> str:
    """The arm with the best mean over seeds on validation, at all labels: the one to take, whatever test says."""
    validation = _most(task)["validation"]
    return max(validation, key=lambda arm: _sign(task) * float(validation[arm]))


def _ranked(metrics: Result, task: Result) -> Result:
    return ranked(metrics, task["headline"], _sign(task))


def _sign(task: Result) -> int:
    """-1 where a smaller headline is better, else 1."""
    return -1 if task["headline"] in task["smaller_is_better"] else 1


def _figure(task: Result, system: str) -> str:
    found = _most(task)["metrics"][system][task["headline"]]
    return f"{found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"


def _task_sections(name: str, task: Result, recipe: Recipe) -> list[Section]:
    metric, arm = task["headline"], chosen(task)
    rows = _ranked(_most(task)["metrics"], task)
    means = {system: row[metric] for system, row in rows.items()}
    longer = "longer" if _sign(task) > 0 else "shorter"
    drawn = drawing(
        lambda: figures.svg(figures.bars(means, f"{metric}, {name}", arm, _sign(task))),
        f"The {longer} the bar, the better on test; {arm}, in blue, is the arm that validation chose. Bars are means "
        "over seeds, whiskers 95 % bootstrap intervals over users and seeds.",
    )
    table = metrics_table(rows, task["measures"], arm, _protocol(task, recipe), task["smaller_is_better"])
    thin = remark(fusion.thin_users(task)) if _asks_labels(task) else ""
    sections = [Section(f"{name}: result", drawn + table + thin)]
    if len(task["shares"]) > 1:
        sections.append(Section(f"{name}: by share of labels", _curves(task)))
    if task["fusion"]:
        sections.append(fusion.section(name, task))
    if any(at["over_scratch"] for at in task["shares"].values()):
        sections.append(Section(f"{name}: beside training from scratch", _over_scratch(task)))
    sections.append(Section(f"{name}: cost", _cost(task)))
    if any(cost["usage"] for cost in _most(task)["cost"].values()):
        sections.append(Section(f"{name}: which blocks are adapted, by user", _usage(task)))
    if task["kept"] and task["kept"]["head"] and task["kept"]["head"]["calibration"]:
        sections.append(Section(f"{name}: what the scores are worth", calibration.section(task)))
    if task["activity"]:
        sections.append(Section(f"{name}: by how much is known of a user", _activity(task)))
    if task["look_alikes"]:
        sections.append(Section(f"{name}: look-alike retrieval", _look_alikes(task)))
    return sections


def _over_scratch(task: Result) -> str:
    rows = [
        [
            _percent(share),
            arm,
            _signed(d),
            f"{d['p']:.3f}",
            d["verdict"],
        ]
        for share, at in task["shares"].items()
        for arm, d in sorted(at["over_scratch"].items(), key=lambda row: -_sign(task) * row[1]["mean"])
    ]
    note = (
        "Differences are paired over the same users and seeds; better and worse are said where their whole interval "
        "is, p is that of the paired randomisation test, not corrected for the number of arms. "
        f"{NEGATIVE.capitalize()}: even the arm's own interval lies on the worse side of that of training from scratch."
    )
    return listing(["labels", "arm", f"{task['headline']} over scratch", "p", "verdict"], rows) + remark(note)


def _cost(task: Result) -> str:
    rows = [
        [
            _percent(share),
            arm,
            f"{cost['trained']:,}",
            f"{cost['trained_share']:.1%}",
            f"{cost['added']:,}",
            f"{cost['steps']:.0f}",
            f"{cost['seconds']:.1f}",
            ", ".join(f"{rate:g}" for rate in dict.fromkeys(cost["learning_rates"])),
            ", ".join(dict.fromkeys(cost["readouts"])),
        ]
        for share, at in task["shares"].items()
        for arm, cost in at["cost"].items()
    ]
    head = ["labels", "arm", "trained parameters", "of all", "added", "steps", "seconds", "learning rate", "state read"]
    return listing(head, rows) + remark(
        "Steps and seconds of a seed, with all learning rates and readouts that were tried; without pretraining, and "
        "without the time of validation. Trained parameters include the head. State read: which of the encoder's "
        "states the prediction is made from."
    )


def _usage(task: Result) -> str:
    rows = [
        [arm, block, f"{mean:.2f}", f"{spread:.2f}"]
        for arm, cost in _most(task)["cost"].items()
        for block, (mean, spread) in cost["usage"].items()
    ]
    note = "Shares of the trained copies that test users take, the rest being the frozen ones; means over seeds."
    return listing(["arm", "block", "mean share", "standard deviation between users"], rows) + remark(note)


def _activity(task: Result) -> str:
    metric = task["headline"]
    rows = []
    for name, half in task["activity"].items():
        for system, found in _ranked(half["metrics"], task).items():
            cell = found[metric]
            interval = f"{cell['mean']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"
            users = f"{name} ({half['users']:,} users)"
            rows.append([users, system, interval, _signed(half["over_scratch"].get(system))])
    note = "Test users, parted at the median of the interactions that are known of them."
    return listing(["known of a user", "system", metric, "over scratch"], rows) + remark(note)


def _signed(difference: Result | None) -> str:
    return f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]" if difference else ""


def _look_alikes(task: Result) -> str:
    names = list(next(iter(task["look_alikes"].values())))
    rows = ranked(task["look_alikes"], names[0])
    note = (
        "Test users ranked by the cosine of their vector with the mean of ten training users of a class, averaged over "
        "classes; nothing is fitted on top of the vectors. Brackets: 95 % of 20 draws of the ten."
    )
    return metrics_table(rows, names, "", f"The best vectors for {names[0]} are {next(iter(rows))}. {note}")


def _curves(task: Result) -> str:
    metric, shares = task["headline"], [task["shares"][share] for share in sorted(task["shares"], key=float)]
    users = [at["train_users"] for at in shares]
    lines = {
        name: (users, [at["metrics"][name][metric]["mean"] for at in shares])
        for name in _ranked(_most(task)["metrics"], task)
    }
    higher, above = ("higher", "above") if _sign(task) > 0 else ("lower", "below")
    caption = (
        f"The {higher} a line, the better on test with so many labels; where lines of arms lie {above} those of simple "
        "methods at the left, the encoder saves labels. Means over seeds; smaller shares are parts of larger ones."
    )
    return drawing(lambda: figures.by_size(lines, "training users", metric), caption)


def _protocol(task: Result, recipe: Recipe) -> str:
    seeds, users = recipe.transfer.num_seeds, task["users"]
    return (
        f"{_most(task)['train_users']:,} users trained on, {users['valid']:,} validate, {users['test']:,} test; "
        f"each arm was trained {'once' if seeds == 1 else f'{seeds} times, with other random weights and order'}. "
        "Weights, learning rates, readouts and the tinted arm are chosen on validation; bold is the best on test, "
        "which nobody can know beforehand. Brackets: 95 % bootstrap intervals over users "
        f"and seeds. {_pretrainings(recipe)}"
    )


def _pretrainings(recipe: Recipe) -> str:
    """How far the intervals reach."""
    number = recipe.transfer.pretrain_seeds
    if number == 1:
        return (
            "All seeds of a pretrained arm start from one pretrained encoder: intervals hold for other users and other "
            "fits of it, not for another pretraining, which may differ by more; transfer.pretrain_seeds has each seed "
            "start from one of its own."
        )
    return (
        f"The seeds start from {number} pretrained encoders in turn: intervals of pretrained arms hold for another "
        "pretraining, too, as far as so few tell. Look-alikes, and trees that read the vector, take the first of them."
    )


def _facts(recipe: Recipe, run_uri: str, result: Result) -> dict[str, str]:
    counts = result["counts"]
    return {
        "recipe": recipe.name,
        **order_fact(counts["order"]),
        "encoder": ", ".join(result["encoders"]),
        "items known to the encoder": f"{counts['items_known']:,} of {counts['items']:,}",
        **_cold(result),
        "pretraining and the task's test": "no overlap" if result["overlap"] else "not checked",
        **machine(read_environment(run_uri)),
        **{f"encoder kept, {name}": kept(task) for name, task in result["tasks"].items()},
        "run folder": run_uri,
    }


def _cold(result: Result) -> dict[str, str]:
    """What is known of items that were held out, where some were."""
    num_items = result["counts"]["items_held_out"]
    kinds = EncoderConfig.model_validate(result["recipe"]["encoder"]).part_kinds()
    told = "vectors that were never trained: expect chance"
    if _INDUCTIVE & kinds:
        told = "vectors made from their texts or categories"
    return {"items held out": f"{num_items:,}, with {told}"} if num_items else {}


def _most(task: Result) -> Result:
    """The figures at the largest label share."""
    most: Result = task["shares"][max(task["shares"], key=float)]
    return most


def _asks_labels(task: Result) -> bool:
    return "without_history" in task["users"]


def _percent(share: str) -> str:
    return f"{100 * float(share):g} %"
