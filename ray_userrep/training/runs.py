"""The run folder: who owns it, what it was started with, and whether it may be resumed.

A run is named by its URI. The same recipe given the same folder resumes it, on whatever workers; anything else is
refused before any work.

A lease in the folder keeps two processes from training into one run (`lease.py`).
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training import lease

RESULT, RECORDS, ENVIRONMENT = "result.json", "metrics.jsonl", "environment.json"
_RECIPE = "recipe.json"
# What a run is resumed on is not what it learns: these may be others each time.
_PLACES = (
    "run",
    "train.num_workers",
    "train.min_workers",
    "train.cpus_per_worker",
    "train.use_gpu",
    "train.max_failures",
    "train.trackers",
)
_PLACE_GROUPS = ("train.zero.",)
_PACKAGES = ("ray_userrep", "torch", "ray", "deepspeed", "transformers", "pyarrow", "numpy")


def default_run_uri(recipe: Recipe) -> str:
    """A fresh folder for a run that was given no name."""
    return storage.join(storage.home(), f"runs/{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}")


def named_run(recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe with the folder of its run, and that folder.

    Raises:
        UserError: as `refuse_other`, before any work.
    """
    run_uri = storage.kept(recipe.run) if recipe.run else default_run_uri(recipe)
    recipe = recipe.model_copy(update={"run": run_uri})
    refuse_other(recipe, run_uri)
    return recipe, run_uri


def refuse_other(recipe: Recipe, run_uri: str) -> None:
    """Refuse a folder that this recipe may neither start nor resume in.

    Raises:
        UserError: it holds a finished run, one of another recipe, or something that is no run.
    """
    if not storage.exists(run_uri):
        return
    recipe_uri = storage.join(run_uri, _RECIPE)
    if not storage.exists(recipe_uri):
        # A process that was killed may have left the beginning of a lease.
        names = [entry.uri.removeprefix(run_uri).strip("/") for entry in storage.list_files(run_uri, hidden=True)]
        if any(name != lease.FILE and not name.startswith(f".{lease.FILE}.") for name in names):
            raise UserError(f"{run_uri} holds files but no run: name another folder with --run")
        return
    try:
        fields = changed(Recipe.model_validate(storage.read_object(recipe_uri)), recipe)
    except ValidationError as error:
        raise UserError(f"{recipe_uri} is no recipe of this version: name another run with --run") from error
    other = f"another recipe (it differs in {', '.join(fields[:5])})"
    if storage.exists(storage.join(run_uri, RESULT)):
        of = f" of {other}" if fields else ""
        raise UserError(f"run folder {run_uri} holds a finished run{of}: name another with --run")
    if fields:
        raise UserError(
            f"run folder {run_uri} is in use by {other}: name another with --run, or resume it with "
            f"--recipe {recipe_uri} --run {run_uri}"
        )


def open_run(recipe: Recipe, run_uri: str) -> bool:
    """Make the folder ready, with the lease held; True if it is resumed.

    Raises:
        UserError: as `refuse_other`.
    """
    refuse_other(recipe, run_uri)
    recipe_uri = storage.join(run_uri, _RECIPE)
    resumed = storage.exists(recipe_uri)
    placeless = recipe.model_copy(update={"run": None})  # a folder that is moved is still this run
    storage.write_text(recipe_uri, placeless.model_dump_json(indent=2) + "\n")
    storage.write_json(storage.join(run_uri, ENVIRONMENT), environment(recipe.train.use_gpu))
    return resumed


@contextmanager
def running(recipe: Recipe, run_uri: str) -> Iterator[None]:
    """The run's folder, ready and held by this process, and told.

    Raises:
        UserError: as `refuse_other`, or another live process holds it.
    """
    with lease.Lease(run_uri):
        resumed = open_run(recipe, run_uri)
        print(f"run       {run_uri}{' (resumed)' if resumed else ''}", flush=True)
        with resumable(run_uri):
            yield


@contextmanager
def resumable(run_uri: str) -> Iterator[None]:
    """An interrupt that ends the block leaves with the folder: the command line says how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(run_uri)
        raise


def changed(one: Recipe, other: Recipe) -> list[str]:
    """Dotted names of the fields in which two recipes differ in what is learned, not in where."""
    names = differences(one.model_dump(mode="json"), other.model_dump(mode="json"))
    return [name for name in names if name not in _PLACES and not name.startswith(_PLACE_GROUPS)]


def differences(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two resolved recipes differ."""
    names: list[str] = []
    for key in sorted(a.keys() | b.keys()):
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            names += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            names.append(prefix + key)
    return names


def read_records(run_uri: str) -> list[dict[str, Any]]:
    """What a run recorded so far while it trained, a line each; a line that broke off is left out."""
    uri = storage.join(run_uri, RECORDS)
    lines = storage.read_bytes(uri).splitlines() if storage.exists(uri) else []
    return [record for record in map(_record, lines) if record is not None]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found and isinstance(found.get("step"), int) else None


def environment(use_gpu: bool | None = None) -> dict[str, Any]:
    """Versions, commit and hardware: what a reader needs to judge or repeat a figure; no GPU where none is wanted."""
    import torch  # reading a run takes it not, and it is slow to import

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if use_gpu is not False and torch.cuda.is_available() else None,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).parent
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
