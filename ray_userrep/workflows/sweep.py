"""Many pretrainings of one recipe side by side, compared at the end: a grid of values, each with several seeds.

A run is a Ray task of one worker, so that runs do not wait for each other; whatever trains on several workers at once
is a `pretrain` of its own. What is measured on is the same for all, and simple methods are tuned once. A run that has
ended is not begun again, one that was cut short goes on.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.distributed.side_by_side import bare_engine
from ray_userrep.distributed.sweep import MAX_RETRIES, held, take
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import refuse_unmeasured
from ray_userrep.evaluation.simple import Simple, measured_once
from ray_userrep.evaluation.statistics import HEADLINE
from ray_userrep.logs.connection import connect, refuse_unshared
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.prepare.encode_states import ensure_content
from ray_userrep.recipe.fields import ALIASES, with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.sweep import SweepConfig
from ray_userrep.report.pages import pretrain as page
from ray_userrep.report.results import RESULT, Result, load_result
from ray_userrep.training import runs
from ray_userrep.training.fit import fit, load_encoder, refuse_lacking
from ray_userrep.training.trackers import refuse_uninstalled
from ray_userrep.workflows.compare import compare_table
from ray_userrep.workflows.evaluate import measure_on
from ray_userrep.workflows.pretrain import corpus_of, finish, remember, with_start
from ray_userrep.workflows.timings import timed

_BASELINES, _TABLE = "baselines.json", "compare.csv"
_OF_ALL = ("logs", "corpus", "split", "evaluation", "seed", "run", "name")  # what runs that are compared share


class Point(NamedTuple):
    """A run of a sweep: its place below the sweep's folder, its whole place, and its recipe."""

    name: str
    uri: str
    recipe: Recipe


def run_sweep(recipe: Recipe, config: SweepConfig) -> Result:
    """Train what is missing of a sweep and print how its points compare; started again it goes on where it stopped.

    Raises:
        UserError: the grid names what cannot be tried, a run's folder holds another, or a run failed (the others are
            finished first).
    """
    recipe.require_encoder("sweep")
    folder = storage.kept(recipe.run) if recipe.run else runs.default_run_uri(recipe)
    points = sweep_points(recipe, config, folder)
    connect()
    refuse_unshared(folder, "run", "--run")
    corpus = corpus_of(recipe, folder)
    with runs.resumable(folder):
        print(f"sweep     {folder}, {len(points)} runs", flush=True)
        failed = _trained(recipe, points, corpus, folder)
    rows = _compared([point.uri for point in points if point.name not in failed], folder)
    if failed:
        name, message = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(points)} runs failed, the first is {name}: {message}; the others are kept, start "
            "the same sweep again to go on"
        )
    return {"job": "sweep", "run": folder, "recipe": recipe.model_dump(mode="json"), "table": rows}


def _compared(ended: Sequence[str], folder: str) -> list[dict[str, Any]]:
    """Print and keep the table of the runs that have ended; returns its rows."""
    if not ended:
        return []
    table = compare_table(ended)
    storage.write_text(storage.join(folder, _TABLE), table.to_csv(index=False))
    print(table.to_string(index=False))
    rows: list[dict[str, Any]] = table.to_dict("records")
    return rows


def sweep_points(recipe: Recipe, config: SweepConfig, folder: str) -> list[Point]:
    """Every combination of the grid's values with every seed, the first named first; each has a folder of its own.

    Raises:
        UserError: a field is unknown, does not take a value, or is one in which runs that are compared cannot differ;
            values look alike; or a run wants several workers.
    """
    grid = {ALIASES.get(name, name): values for name, values in config.grid.items()}
    if shared := [path for path in grid if path.split(".")[0] in _OF_ALL]:
        raise UserError(f"grid: {shared[0]} has to be the same for all runs that are compared: take it out of the grid")
    chosen = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    points = []
    for values, seed in product(chosen, config.seeds):
        name = f"{_named(values) or _plain(recipe.name)}/seed-{seed}"
        uri = storage.join(folder, name)
        points.append(Point(name, uri, with_start(with_values(recipe, values | {"seed": seed, "run": uri}))))
    names = [point.name for point in points]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"grid: two of its values would both be in the folder {twice[0]}: leave one out")
    if any(point.recipe.train.num_workers > 1 for point in points):
        raise UserError("sweep trains each run on one worker, runs beside each other: leave out train.num_workers")
    refuse_uninstalled(recipe.train.trackers)
    return points


def _named(values: Mapping[str, Any]) -> str:
    return ",".join(f"{path}={_plain(json.dumps(value))}" for path, value in sorted(values.items()))


def _plain(text: str) -> str:
    """What of a text can stand in the name of a folder anywhere."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")


def _trained(recipe: Recipe, points: Sequence[Point], corpus: Corpus, folder: str) -> dict[str, str]:
    """Train the points that have no result yet, beside each other; returns what failed, with the reason."""
    waiting = [point for point in points if not is_done(point)]
    if not waiting:
        return {}
    split = resolve(recipe.split, corpus)
    refuse_unmeasured(corpus, split, recipe.split.rule)
    remember(corpus, folder)
    for point in waiting:
        _make_ready(point.recipe, corpus)
        refuse_lacking(point.recipe, corpus, split)
    simple = None
    if recipe.evaluation.baselines:
        simple = measured_once(corpus, split, recipe.evaluation, storage.join(folder, _BASELINES))
    num_gpus, threads = gpus_asked(recipe.train.use_gpu), recipe.train.cpus_per_worker or 1
    task = ray.remote(_run).options(num_cpus=threads, num_gpus=num_gpus, max_retries=MAX_RETRIES, name="sweep")
    given = (corpus.uri, corpus.manifest.version), ray.put(simple), threads, num_gpus
    names = {task.remote(point.recipe.model_dump_json(), point.uri, *given): point.name for point in waiting}
    return _waited_for(names, len(points))


def _waited_for(names: dict[Any, str], total: int) -> dict[str, str]:
    """What failed of tasks, by their names, when all have ended; each is told of as it ends."""
    figures, failed, left = dict[str, float](), dict[str, str](), list(names)
    while left:
        (done,), left = ray.wait(left)
        name = names[done]
        take(done, name, figures, failed)
        ending = f"failed: {failed[name]}" if name in failed else f"{HEADLINE} {figures[name]:.4f}"
        print(f"run {total - len(left)}/{total}  {name}  {ending}", flush=True)
    return failed


def is_done(point: Point) -> bool:
    """Whether a run has a result.

    Raises:
        UserError: it is of another recipe.
    """
    if not storage.exists(storage.join(point.uri, RESULT)):
        return False
    if fields := runs.changed(Recipe.model_validate(load_result(point.uri)["recipe"]), point.recipe):
        raise UserError(
            f"{point.uri} was trained with another {', '.join(fields[:5])}: name another folder with --run, or delete "
            "this run"
        )
    return True


def _make_ready(recipe: Recipe, corpus: Corpus) -> None:
    """See that the corpus has what a run reads; texts that it needs are encoded before it is begun."""
    corpus.manifest.require_times(recipe.reads_times())
    ensure_content(corpus, recipe.encoder, recipe.text, recipe.train.use_gpu)


def _run(raw: str, uri: str, place: tuple[str, int], simple: Simple | None, threads: int, num_gpus: float) -> float:
    """What each task runs, on a device of its own; one that is started again finds what an earlier attempt left."""
    recipe, corpus, device = Recipe.model_validate_json(raw), open_corpus(*place), device_of_task(num_gpus)
    torch.set_num_threads(threads)
    timings: dict[str, float] = {}
    with held(uri):
        if storage.exists(storage.join(uri, RESULT)):
            return _headline(load_result(uri))
        runs.open_run(recipe, uri)
        remember(corpus, uri)
        with timed(timings, "train"):
            fit(recipe, corpus, uri, bare_engine(recipe, device), lambda record: None)
        with timed(timings, "evaluate"):
            encoder = load_encoder(uri).eval()
            result = measure_on(recipe, corpus, encoder, uri, "pretrain", device, simple)
        result = finish(uri, encoder, result, timings)
    page.draw(uri)
    return _headline(result)


def _headline(result: Result) -> float:
    return float(result["metrics"][HEADLINE]["mean"])
