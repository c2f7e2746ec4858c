"""What the cluster has and what is in use of it, noted every few seconds while a study runs.

A thread of the driver asks Ray and keeps the answers in a file of the study's folder, one for each time that the study
was started, so that a study that was killed and resumed shows all of its hours. What was noted since the last write is
lost with a driver that is killed.
"""

import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.connection import nodes

_FOLDER = "utilisation"
_EVERY_SECONDS = 2.0
_WRITE_SECONDS = 60.0
_MOST_SAMPLES = 2_000  # beyond, every second one is kept and they come half as often
_KINDS = ("CPU", "GPU")


class Sample(NamedTuple):
    """The cluster at one time, in seconds since 1970; nodes are those that take work."""

    time: float
    nodes: int
    cores: float
    cores_used: float
    gpus: float
    gpus_used: float


def sample() -> Sample:
    """The cluster now; a head without cores is no node."""
    there, free = ray.cluster_resources(), ray.available_resources()
    # A node that joins between the two questions would make what is in use less than nothing.
    counts = {name: (there.get(name, 0.0), max(0.0, there.get(name, 0.0) - free.get(name, 0.0))) for name in _KINDS}
    return Sample(time.time(), _num_working(), *counts["CPU"], *counts["GPU"])


def _num_working() -> int:
    return sum(any(node.get(name, 0) for name in _KINDS) for node in nodes())


def spent(began: float) -> dict[str, float]:
    """The nodes that there are now, and how many hours of them went since a job began (s, `time.monotonic`).

    Where nodes come and go meanwhile it is an estimate.
    """
    working = _num_working()
    return {"nodes": working, "node_hours": working * (time.monotonic() - began) / 3600}


class Watch:
    """Notes samples from when it is entered until it is left, in a folder's file as soon as one is named."""

    def __init__(self, every: float = _EVERY_SECONDS) -> None:
        self._every = every
        self._uri: str | None = None
        self._samples: list[Sample] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="utilisation")

    def __enter__(self) -> "Watch":
        self._samples.append(sample())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._write()

    @property
    def last(self) -> Sample:
        """The newest sample."""
        return self._samples[-1]

    def keep(self, folder: str) -> None:
        """From now on write what is noted into a study's folder, what was noted before as well."""
        self._uri = storage.join(folder, _FOLDER, f"{time.time_ns()}.json")
        self._write()

    def _write(self) -> None:
        if self._uri is not None:
            storage.write_json(self._uri, [one._asdict() for one in self._samples])

    def _run(self) -> None:
        written = time.monotonic()
        while not self._closed.wait(self._every):
            with suppress(RayError):  # a head that is slow to answer costs a sample, not the study
                self._samples.append(sample())
            if len(self._samples) > _MOST_SAMPLES:
                self._samples, self._every = self._samples[::2], 2 * self._every
            if time.monotonic() - written > _WRITE_SECONDS:
                with suppress(UserError, OSError):  # the next write holds the same
                    self._write()
                written = time.monotonic()


def utilisation(folder: str) -> list[dict[str, Any]]:
    """The samples at which something changed, oldest first; `minutes` leave out the time in which nothing ran."""
    told: list[dict[str, Any]] = []
    if not storage.exists(storage.join(folder, _FOLDER)):
        return told
    for entry in storage.list_files(storage.join(folder, _FOLDER), ".json"):
        begun, samples = told[-1]["minutes"] if told else 0.0, storage.read_json(entry.uri)
        told += [one | {"minutes": begun + (one["time"] - samples[0]["time"]) / 60} for one in _turns(samples)]
    return told


def _turns(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last of each run of samples that differ in nothing but their time."""
    seen = [{**one, "time": 0.0} for one in samples]
    last = len(samples) - 1
    return [one for i, one in enumerate(samples) if i in (0, last) or not seen[i - 1] == seen[i] == seen[i + 1]]
