"""From a log to a scaling law: sweep, prediction, held-out runs, fit, report.

The order is the point: the law is fitted to the smaller runs and what it says of the largest is on record before these
are trained.
"""

import csv
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ray_userrep import storage
from ray_userrep.corpus.manifest import NO_TIMES
from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.sweep import OnProgress, Progress, begun, sweep
from ray_userrep.distributed.utilisation import Sample, Watch, spent, utilisation
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.planner.ladder import shape_of
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.report.pages import scaling as page
from ray_userrep.report.results import Result, load_result
from ray_userrep.scaling.law.law import RunSize, law_table, study_law
from ray_userrep.scaling.law.points import MIN_POINTS
from ray_userrep.scaling.study.grid import (
    LAW,
    StudyData,
    StudyPoint,
    cost_of,
    fixed,
    settings_of,
    study_points,
    tuning_points,
)
from ray_userrep.scaling.study.point import (
    Row,
    edge_warnings,
    law_points,
    plan_of,
    row_of,
    spent_on,
    tuned_factors,
    window_lengths,
)
from ray_userrep.scaling.study.prediction import beside_floor, register, registered
from ray_userrep.training import runs
from ray_userrep.training.stored import store_result
from ray_userrep.workflows.prepare import open_or_prepare

_STUDY = "study.json"
_CURVE_POINTS = 24
_EVERY_SECONDS = 10.0
_BEYOND = (1.0, 10.0, 100.0)


def run_scale(recipe: Recipe, config: ScaleConfig) -> Result:
    """Train what is missing of a study, fit its law and write the report; started again it goes on where it stopped.

    Raises:
        UserError: the folder holds another study, or a point of this one is refused or fails.
    """
    recipe.require_encoder("scale")
    recipe = fixed(recipe, config)
    folder = storage.kept(recipe.run) if recipe.run else runs.default_run_uri(recipe)
    began = time.monotonic()
    connect()
    refuse_unshared(folder, "run", "--run")
    with Watch() as watch:
        corpus = open_or_prepare(recipe)
        _claim(folder, recipe, corpus)
        print(f"study     {folder}", flush=True)
        watch.keep(folder)
        told = _trained_and_fitted(recipe, config, corpus, folder, _Live(watch))
    told |= {"utilisation": utilisation(folder)} | spent(began)
    _stored(folder, recipe, config, told)
    print(printed(told))
    print(f"report    {page.draw(folder)}")
    return load_result(folder)


def _trained_and_fitted(
    recipe: Recipe, config: ScaleConfig, corpus: Corpus, folder: str, on_progress: OnProgress
) -> dict[str, Any]:
    study_of = _data(recipe, corpus)
    trials = tuning_points(recipe, config, study_of)
    tried = sweep(trials, corpus, folder, config, on_progress)
    tuned = tuned_factors(trials, tried)
    made, said = study_points(recipe, config, study_of, tuned)
    said += edge_warnings(tuned, config.tune)
    said += [NO_TIMES] if corpus.manifest.order == "row" else []
    print("".join(f"warning   {line}\n" for line in said), end="", flush=True)
    fitted, held = [p for p in made if p.kind in LAW and not p.held_out], [p for p in made if p.held_out]
    results = sweep(fitted, corpus, folder, config, on_progress)
    prediction = _predicted(folder, corpus, held, [row_of(p, results[p.name]) for p in fitted], said)
    if prediction is None:
        made = [point._replace(held_out=False) for point in made]
    results |= sweep([p for p in made if p.name not in results], corpus, folder, config, on_progress)
    rows = [row_of(p, results[p.name]) for p in made]
    tuning = [row_of(p, tried[p.name]) | {"factor": p.factor, "chosen": tuned.get(p.size) == p.factor} for p in trials]
    return summarise(recipe, config, study_of, rows, prediction, said) | {"tuning": tuning}


def _predicted(
    folder: str, corpus: Corpus, held: Sequence[StudyPoint], rows: Sequence[Row], said: list[str]
) -> dict[str, Any] | None:
    """The prediction of the held-out runs; none where there are none, or where one was begun before it at any rate."""
    if not held:
        return None
    places = {f"-n{point.size}-d{point.data}-" for point in held}
    if not registered(folder) and any(place in name for name in begun(folder) for place in places):
        said.append("the held-out runs were trained before they were predicted: nothing is proved by them")
        return None
    return register(folder, rows, {point.setting: _place(point, corpus) for point in settings_of(held)})


def summarise(
    recipe: Recipe,
    config: ScaleConfig,
    study_of: StudyData,
    rows: Sequence[Row],
    prediction: dict[str, Any] | None,
    said: Sequence[str],
) -> dict[str, Any]:
    """Everything that the report shows, as plain values; `law` is null where the runs allow none."""
    warnings = list(said)
    try:
        law = _studied(recipe, config, study_of, rows, warnings)
    except UserError as error:
        law = None
        warnings.append(f"no law: {error}")
    beside = None if config.floor is None else beside_floor(rows, law, config.floor)
    return {
        "rows": rows,
        "prediction": prediction,
        "proof": _proof(prediction, rows),
        "law": law,
        "floor": beside,
        "warnings": warnings,
    }


def _studied(
    recipe: Recipe, config: ScaleConfig, study_of: StudyData, rows: Sequence[Row], warnings: list[str]
) -> dict[str, Any]:
    """The study of all good runs, with its curves, frontier and advice as plain values.

    Raises:
        UserError: the runs allow no law.
    """
    good = law_points(rows)
    spent = [row for row in rows if row["kind"] == "isoflop" and row["loss"] is not None]
    of_budgets = law_points(spent) if len(spent) >= MIN_POINTS else None
    curves = _curve_places(rows)
    places = [place for line in curves.values() for place in line]
    largest = float(good.C.max())
    advise = config.advise or tuple(largest * beyond for beyond in _BEYOND)
    frontier = np.geomspace(good.C.min(), max(largest, *advise), _CURVE_POINTS).tolist()
    try:
        law = study_law(good, places, [*advise, *frontier], isoflop_points=of_budgets)
        found = [one if one["N"]["value"] is not None else None for one in law["optima"]]
        law["frontier"] = [one for one in found[len(advise) :] if one is not None]
        law["optima"] = [_advice(recipe, study_of, one) for one in found[: len(advise)] if one is not None]
        if None in found:
            warnings.append("no advice on budgets: by this law the loss does not fall with the size, or with the data")
    except UserError as error:
        warnings.append(str(error))
        law = study_law(good, places)
    expected = iter(law["predictions"])  # of the law itself first; those of a preferred form are left
    law["curves"] = {"N": {}, "D": {}}
    for (axis, key), line in curves.items():
        law["curves"][axis][key] = _curve(axis, [next(expected) for _ in line])
    warnings += law["warnings"]
    return law | {"predictions": [], "warnings": []}  # told elsewhere


def _curve_places(rows: Sequence[Row]) -> dict[tuple[str, str], list[RunSize]]:
    """Where each line of the figures runs: along N for each amount of data, along D for each size."""
    lines: dict[tuple[str, str], list[RunSize]] = {}
    grid = [row for row in rows if row["kind"] == "grid" and row["loss"] is not None]
    for axis, group, other in (("N", "data", "D"), ("D", "size", "N")):
        ends = [row[axis] for row in grid]
        for key in sorted({row[group] for row in grid}):
            middle = float(np.median([row[other] for row in grid if row[group] == key]))
            along = np.geomspace(min(ends), max(ends), _CURVE_POINTS).tolist()
            lines[axis, str(key)] = [(x, middle) if axis == "N" else (middle, x) for x in along]
    return lines


def _curve(axis: str, line: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    parts = {part: [one["loss"][part] for one in line] for part in ("value", "low", "high")}
    return {"x": [one[axis] for one in line]} | parts


def _advice(recipe: Recipe, study_of: StudyData, best: dict[str, Any]) -> dict[str, Any]:
    """An optimum with what it costs in all, by the ladder's shape of that size, and its epochs over this corpus."""
    size, interactions = round(best["N"]["value"]), best["D"]["value"]
    told = best | {"epochs": interactions / study_of.interactions, "flops": None}
    try:
        cost = cost_of(recipe, shape_of(recipe.encoder.backbone, recipe.stream.max_len, size), study_of)
    except UserError:  # no rung of the ladder is of this size
        return told
    return told | {"flops": cost.per_interaction * interactions}


def printed(told: dict[str, Any]) -> str:
    """The table of all runs, what was predicted of those held out, and the law."""
    lines = [f"{'run':<34}{'N':>12}{'D':>14}{'loss':>9}{'ndcg@10':>9}"]
    for row in told["rows"]:
        figures = f"{row['loss']:>9.4f}{row['ndcg@10']:>9.4f}" if row["loss"] is not None else f"{row['outcome']:>18}"
        lines.append(f"{row['name']:<34}{row['N']:>12,.0f}{row['D']:>14,.0f}{figures}")
    for one in told["proof"]:
        verdict = "inside" if one["inside"] else "not inside"
        interval = "no interval" if one["low"] is None else f"[{one['low']:.4f}, {one['high']:.4f}]"
        told_of = f"predicted {one['setting']} by {one['form']}: {one['predicted']:.4f} {interval}"
        lines.append(f"{told_of}, trained {one['measured']:.4f}: {verdict}")
    if told["law"] is not None:
        lines.append(law_table(told["law"]))
    if told["floor"] is not None:
        lines.append(told["floor"]["verdict"])
    return "\n".join([*lines, *(f"warning: {line}" for line in told["warnings"])])


def _data(recipe: Recipe, corpus: Corpus) -> StudyData:
    plan = plan_of(recipe, corpus)
    return StudyData(plan.num_tokens, np.concatenate(window_lengths(plan)), corpus.manifest.num_items)


def _place(point: StudyPoint, corpus: Corpus) -> RunSize:
    """N and D of a point before it is trained."""
    spent = spent_on(point.recipe, corpus)
    return float(spent["N"]), float(spent["D"])


def _claim(folder: str, recipe: Recipe, corpus: Corpus) -> None:
    """Write down what the folder's study is of, or refuse to mix another one into it."""
    uri = storage.join(folder, _STUDY)
    mine, content = recipe.model_copy(update={"run": None}), corpus.manifest.content_fingerprint
    if not storage.exists(uri):
        storage.write_json(uri, {"recipe": mine.model_dump(mode="json"), "content": content})
        return
    other = storage.read_json(uri)
    changed = runs.changed(Recipe.model_validate(other["recipe"]), mine)
    changed += ["what the corpus holds"] if other["content"] != content else []
    if changed:
        raise UserError(
            f"{folder} holds a study of something else (it differs in {', '.join(changed[:5])}): "
            "name another folder with --run"
        )


def _proof(prediction: dict[str, Any] | None, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each prediction beside the held-out runs' losses; a single run scatters more than the law is unsure."""
    proof = []
    for one in prediction["predictions"] if prediction is not None else []:
        losses = [row["loss"] for row in rows if row["setting"] == one["setting"] and row["loss"] is not None]
        if losses:
            run, measured = one["run"], float(np.mean(losses))
            known = run["low"] is not None and run["high"] is not None
            low, high = (run["low"], run["high"]) if known else (float("-inf"), float("inf"))
            proof.append(
                {
                    "setting": one["setting"], "form": one["form"], "N": one["N"], "D": one["D"],
                    "predicted": run["value"], "low": low if known else None, "high": high if known else None,
                    "measured": measured, "seeds": losses, "inside": bool(known and low <= measured <= high),
                }
            )  # fmt: skip
    return proof


def _stored(folder: str, recipe: Recipe, config: ScaleConfig, told: dict[str, Any]) -> None:
    """Store the points and the result, which its page is drawn from."""
    columns = ("N", "D", "loss", "C", "seed", "epochs")
    text = io.StringIO()
    good = [row for row in told["rows"] if row["loss"] is not None and row["kind"] in LAW]
    csv.writer(text).writerows([columns, *([row[name] for name in columns] for row in good)])
    storage.write_text(storage.join(folder, "points.csv"), text.getvalue())
    result = {"job": "scale", "recipe": recipe.model_dump(mode="json"), "scale": config.model_dump(mode="json")}
    result |= {"run": folder, "environment": runs.environment(recipe.train.use_gpu)} | told
    store_result(folder, result)


class _Live:
    """Prints the live table when a run ends and now and then between."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._done = -1
        self._printed = 0.0

    def __call__(self, progress: Progress) -> None:
        now, done = time.monotonic(), len(progress.results) + len(progress.failed)
        if done == self._done and now - self._printed < _EVERY_SECONDS:
            return
        self._done, self._printed = done, now
        print(live(progress, self._watch.last), flush=True)


def live(progress: Progress, cluster: Sample) -> str:
    """The runs under way, a line each, below how many are done and what the cluster has and uses."""
    done = len(progress.results) + len(progress.failed)
    head = f"{done}/{progress.total} runs  {progress.seconds:,.0f} s"
    head += f"  {cluster.nodes} nodes, {cluster.cores_used:g} of {cluster.cores:g} cores"
    if cluster.gpus:
        head += f", {cluster.gpus_used:g} of {cluster.gpus:g} GPUs"
    if progress.failed:
        head += f"  {len(progress.failed)} failed"
    rows = []
    for name, one in progress.running.items():
        share = one["step"] / one["total_steps"]
        ending = f"left {one['seconds_left']:,.0f} s" if share < 1 else "being measured"
        rows.append(f"  {name:<34}{share:>5.0%}  loss {one['loss']:.4f}  {ending}")
    return "\n".join([head, *rows])
