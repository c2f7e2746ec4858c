"""A version in the making: its stages, each finished once and found again after a crash, and the memory they took.

A finished stage leaves what its tasks reported as JSON beside the staged files. A note under `unfinished/`, named by
what is prepared from what, leads the next run to them; it goes before the version is published, so that nobody
continues what is published. Two runs on the same log at the same time share a build and write the same files: the
slower one may find them published and its staged files gone.

The most memory that a task took is the peak of its process since the task began, where the system can tell.
"""

import hashlib
import json
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.exceptions import RayTaskError

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import run

PEAK = "peak_bytes"  # of a report: the most memory its task took
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_UNIT = 1 if sys.platform == "darwin" else 1024
_TRIED = "Failed to apply UDF transform after "
_SECONDS = 10  # between two lines of progress
_ROWS = {
    "partition": "rows of the log",
    "divide": "interactions",
    "sort": "interactions",
    "count": "counts of items",
    "write": "interactions",
    "users": "rows of the table of users",
    "relations": "rows of the table of relations",
}  # what a stage's rows are

Report = dict[str, Any]


class Build:
    """A folder of a version that is not published yet, and the stages that were finished in it."""

    def __init__(self, corpus_uri: str, folder: str, note: str | None = None) -> None:
        """A build in a folder of a corpus, with the note that leads to it, if one does."""
        self.folder, self._note = folder, note
        self.uri = storage.join(corpus_uri, folder)
        self.finished = 0
        self.peak_bytes: dict[str, int] = {}

    def stage(self, name: str, work: Callable[[], Report]) -> Report:
        """What the work says, done now or by a run before; `peak_bytes` in it is kept by stage."""
        uri = storage.join(self.uri, "staging", f"{name}.json")
        if storage.exists(uri):
            print(f"prepare   {name:12s} was finished before", flush=True)
        else:
            done = work()
            with suppress(FileExistsError):
                storage.create_exclusive(uri, json.dumps(done).encode())
        found: Report = storage.read_json(uri)
        self.peak_bytes[name] = found[PEAK]
        self.finished += 1
        return found

    def drop(self) -> None:
        """Forget the build with all that it wrote."""
        self.settle()
        storage.delete(self.uri)

    def settle(self) -> None:
        """Make the build one that nobody continues: it is about to be published."""
        if self._note is not None:
            storage.delete(self._note)

    def clean(self) -> None:
        """Remove what only later stages needed."""
        storage.delete(storage.join(self.uri, "staging"))


def begin(corpus_uri: str, key: dict[str, Any]) -> Build:
    """A new build, or the one that was left unfinished with the same key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    note = storage.join(corpus_uri, "unfinished", f"{digest[:16]}.json")
    with suppress(FileExistsError):
        storage.create_exclusive(note, json.dumps({"folder": f"data/{uuid.uuid4().hex[:12]}"}).encode())
    return Build(corpus_uri, storage.read_json(note)["folder"], note)


def run_tasks(stage: str, calls: Sequence[tuple[Any, ...]], sizes: Sequence[int]) -> Report:
    """Run functions with their arguments, all at once; their reports in the order of the calls.

    `sizes` are the rows behind each call, for rate and time left.
    """
    found: list[Report] = [{} for _ in calls]
    progress = StageProgress(stage, sum(sizes))

    def take(number: int, report: Report) -> None:
        found[number] = report
        progress.add(sizes[number])

    with plain_errors():
        run([(_watched, *call) for call in calls], take)
    progress.end(f"{sum(sizes):,} {_ROWS[stage]} in {len(calls)} task{'s' * (len(calls) > 1)}")
    return {"reports": found, PEAK: max(report.pop(PEAK) for report in found)}


def _watched(task: Callable[..., Report], *arguments: Any) -> Report:
    watch_peak()
    report = task(*arguments)
    return {**report, PEAK: peak_bytes()}


class StageProgress:
    """Says now and then how far a stage is: rows, rate, and the time left where the end is known."""

    def __init__(self, stage: str, total: int | None = None) -> None:
        self._stage, self._total, self._rows = stage, total, 0
        self._began = self._told = time.perf_counter()

    def add(self, rows: int) -> None:
        """Count rows that are done."""
        self._rows += rows
        now = time.perf_counter()
        if now - self._told >= _SECONDS:
            self._told = now
            rate = self._rows / (now - self._began)
            left = f" of {self._total:,}, {(self._total - self._rows) / rate:,.0f} s left" if self._total else ""
            print(
                f"prepare   {self._stage:12s} {self._rows:,} {_ROWS[self._stage]}{left} ({rate:,.0f} a second)",
                flush=True,
            )

    def end(self, told: str) -> None:
        """The stage's last line."""
        seconds = time.perf_counter() - self._began
        print(f"prepare   {self._stage:12s} {seconds:6.1f} s  {told}", flush=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """A user's error comes out of a task as itself."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            # Ray's wrapper of a task's error is a subclass of that error, too.
            if isinstance(cause, UserError) and not isinstance(cause, RayTaskError):
                raise _as_raised(cause) from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise


def _as_raised(error: UserError) -> UserError:
    """An error without what Ray Data writes into its message: how often it tried."""
    error.args = (str(error).split(_TRIED)[0].rstrip(),)
    return error


def watch_peak() -> None:
    """Forget earlier peaks; where that cannot be done, the peak is that of the process's whole life."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int:
    """The largest resident size since `watch_peak`, shared pages with it."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
