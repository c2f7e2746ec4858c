"""Many runs side by side, each a Ray task that takes its share of a core or a GPU, on whatever nodes there are.

All runs are submitted at once, the longest first: an autoscaling cluster sees the whole demand, and no long run is left
for the end. What is known of a run is its folder: a run with a result is never started again, one without goes on from
its checkpoint, on any node. A task lost with its node is started again by Ray.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
import torch
from ray.util.queue import Empty, Queue

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import here
from ray_userrep.prepare.devices import device_of_task, gpus_asked
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.scaling.study.grid import StudyPoint
from ray_userrep.scaling.study.point import PointResult, finished_point, run_point
from ray_userrep.scaling.study.prediction import refuse_unregistered
from ray_userrep.training import runs
from ray_userrep.training.lease import Lease

_POLL_SECONDS = 2.0
_LEASE_SECONDS = 90.0  # a run whose node is gone keeps its lease for a while
MAX_RETRIES = 5


class Progress(NamedTuple):
    """How far a sweep is: results so far, and the last record of each running point."""

    total: int
    results: dict[str, PointResult]
    running: dict[str, dict[str, Any]]
    failed: dict[str, str]
    seconds: float


OnProgress = Callable[[Progress], None]


def run_uri(folder: str, point: StudyPoint) -> str:
    """The run folder of a point."""
    return storage.join(folder, "points", point.name)


def begun(folder: str) -> set[str]:
    """The names of a study's runs that were begun, finished or not."""
    runs_uri = storage.join(folder, "points")
    if not storage.exists(runs_uri):
        return set()
    recipes = storage.list_files(runs_uri, "recipe.json")
    return {entry.uri.removeprefix(runs_uri).strip("/").split("/")[0] for entry in recipes}


def sweep(
    points: Sequence[StudyPoint], corpus: Corpus, folder: str, config: ScaleConfig, on_progress: OnProgress
) -> dict[str, PointResult]:
    """Train every point that has no result yet; returns the results of all, by name.

    Raises:
        UserError: a finished run is of another recipe; a point was refused, or failed (the others are finished first).
    """
    results = done_before(points, folder)
    waiting = sorted((p for p in points if p.name not in results), key=lambda point: -point.compute)
    if not waiting:
        return results
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here()})
    try:
        failed = _run_all(waiting, results, corpus, folder, config, queue, on_progress)
    finally:
        queue.shutdown()
    if failed:
        name, message = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(points)} runs failed, the first is {name}: {message}; the others are kept, "
            "start the same study again to go on"
        )
    return results


def done_before(points: Sequence[StudyPoint], folder: str) -> dict[str, PointResult]:
    """The results that are there already.

    Raises:
        UserError: one of them is of another recipe than its point's.
    """
    results = {}
    for point in points:
        if (done := finished_point(run_uri(folder, point))) is not None:
            if fields := runs.changed(Recipe.model_validate(done["recipe"]), point.recipe):
                raise UserError(
                    f"{run_uri(folder, point)} was trained with another {', '.join(fields[:5])}: name another folder "
                    "with --run, or delete this run"
                )
            results[point.name] = done
    return results


def _run_all(
    waiting: Sequence[StudyPoint],
    results: dict[str, PointResult],
    corpus: Corpus,
    folder: str,
    config: ScaleConfig,
    queue: Queue,
    on_progress: OnProgress,
) -> dict[str, str]:
    """Submit and wait; fills in results and returns what failed, with the reason."""
    began, running, failed = time.monotonic(), dict[str, dict[str, Any]](), dict[str, str]()
    num_gpus = _gpus_per_run(waiting[0].recipe, config)
    task = ray.remote(_run).options(
        num_cpus=config.cpus_per_run, num_gpus=num_gpus, max_retries=MAX_RETRIES, name="scaling point"
    )
    place = (corpus.uri, corpus.manifest.version)
    given = (place, folder, max(1, int(config.cpus_per_run)), num_gpus, queue)
    names = {task.remote(_plain(point), *given): point.name for point in waiting}
    total, left = len(results) + len(waiting), list(names)
    while left:
        done, left = ray.wait(left, timeout=_POLL_SECONDS)
        for name, record in _drained(queue):
            running[name] = record
        for ref in done:
            running.pop(names[ref], None)
            take(ref, names[ref], results, failed)
        on_progress(Progress(total, results, running, failed, time.monotonic() - began))
    return failed


def _gpus_per_run(recipe: Recipe, config: ScaleConfig) -> float:
    return gpus_asked(recipe.train.use_gpu) if config.gpus_per_run is None else config.gpus_per_run


def _plain(point: StudyPoint) -> dict[str, Any]:
    return point._asdict() | {"recipe": point.recipe.model_dump_json()}


def take(ref: Any, name: str, results: dict[str, Any], failed: dict[str, str]) -> None:
    """Put a run's result, or why it failed, where it belongs."""
    try:
        results[name] = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        failed[name] = str(error.cause) if isinstance(error.cause, UserError) else repr(error.cause)
    except ray.exceptions.RayError as error:
        failed[name] = f"its worker was lost ({type(error).__name__})"


def _run(
    raw: dict[str, Any], place: tuple[str, int], folder: str, threads: int, num_gpus: float, queue: Queue
) -> PointResult:
    """What each task runs; a task that is started again finds what an earlier attempt left."""
    point = StudyPoint(**(raw | {"recipe": Recipe.model_validate_json(raw["recipe"])}))
    torch.set_num_threads(threads)
    uri = run_uri(folder, point)
    if (done := finished_point(uri)) is not None:
        return done
    if point.held_out:
        refuse_unregistered(folder, point.setting)
    about = {name: raw[name] for name in ("name", "kind", "size", "data", "seed", "compute", "held_out")}
    about |= {"setting": point.setting, "began": time.time(), "node": ray.get_runtime_context().get_node_id()}

    def tell(record: dict[str, Any]) -> None:
        if record["kind"] == "train":
            queue.put((point.name, {name: record[name] for name in ("step", "total_steps", "loss", "seconds_left")}))

    with held(uri):
        return run_point(point.recipe, open_corpus(*place), uri, about, tell, device_of_task(num_gpus))


@contextmanager
def held(uri: str) -> Iterator[None]:
    """The run's lease, waited for while a dead owner's runs out."""
    deadline = time.monotonic() + _LEASE_SECONDS
    lease = Lease(uri)
    while True:
        try:
            lease.__enter__()
            break
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lease.__exit__()


def _drained(queue: Queue) -> Iterator[tuple[str, dict[str, Any]]]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
