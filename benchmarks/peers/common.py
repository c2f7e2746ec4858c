"""What every measured system shares: the job, the data, the clock, the evaluation and how the outcome is told.

A system runs in a process and an environment of its own, as `python -P -m peers.NAME JOB.json`, and prints one line of
JSON last. Nothing here knows a system; numpy and torch are all it needs, so that it runs in every environment.

Shapes: N interactions, U users, B users of a chunk, V items.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

_EVALUATED_TOGETHER = 256
_NO_MEMORY = ("allocate memory", "bad alloc", "bad_alloc", "Cannot allocate", "could not create a memory")


@dataclass(frozen=True)
class Data:
    """What is trained on, oldest first, and each user's next item, which is not; items are 0, 1, ... in both."""

    items_N: np.ndarray
    offsets_U1: np.ndarray
    targets_U: np.ndarray
    evaluated: np.ndarray
    num_items: int
    length: int

    def history(self, user: int) -> np.ndarray:
        """Everything known of a user."""
        return self.items_N[self.offsets_U1[user] : self.offsets_U1[user + 1]]

    def windows(self) -> list[np.ndarray]:
        """What each user is trained on: the newest `length` targets and the item before them."""
        return [self.history(user)[-self.length - 1 :] for user in range(len(self.targets_U))]

    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows as rows of user, item and order."""
        windows = self.windows()
        lengths = np.array([len(window) for window in windows])
        order = np.concatenate([np.arange(length) for length in lengths])
        return np.repeat(np.arange(len(windows)), lengths), np.concatenate(windows), order


class Enough(Exception):
    """The clock has seen what it was to see: training ends here."""


@dataclass
class Clock:
    """Counts trained targets and the seconds they took, after a warm-up and without the time of evaluations.

    Where it is evaluated every so often, there is no warm-up: everything since `start` is part of what it cost.
    """

    job: dict[str, Any]
    evaluate: Callable[[], float] | None = None
    targets: int = 0
    steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    _began: float = 0.0
    _counting: float = 0.0
    _outside: float = 0.0
    _last: float = 0.0

    def start(self) -> None:
        """Training begins."""
        self._began = time.perf_counter()
        self._counting = 0.0 if self.job["evaluate_every"] is None else self._began

    @property
    def seconds(self) -> float:
        """Counted so far, up to the last step."""
        return self._last - self._counting - self._outside

    def step(self, targets: int) -> None:
        """An optimiser step over so many real targets is done.

        Raises:
            Enough: the job's time is over, or its last evaluations brought no gain.
        """
        now = time.perf_counter()
        if not self._counting:
            if now - self._began >= self.job["warmup_seconds"]:
                self._counting = now
            return
        self.targets += targets
        self.steps += 1
        self._last = now
        over = self.seconds >= self.job["seconds"]
        if self.job["evaluate_every"] is not None:
            self._judge(over)
        elif over:
            raise Enough

    def _judge(self, over: bool) -> None:
        if self.targets < (len(self.curve) + 1) * self.job["evaluate_every"] and not over:
            return
        seconds, before = self.seconds, time.perf_counter()
        assert self.evaluate is not None, "what cannot be evaluated has no curve"
        score = self.evaluate()
        self._outside += time.perf_counter() - before
        self.curve.append({"seconds": seconds, "targets": self.targets, "ndcg@10": score})
        scores = [point["ndcg@10"] for point in self.curve]
        if over or len(scores) - 1 - scores.index(max(scores)) >= self.job["patience"]:
            raise Enough

    def result(self) -> dict[str, Any]:
        """What was counted."""
        if self.job["evaluate_every"] is not None:
            return {"curve": self.curve}
        rate = self.targets / self.seconds
        return {"targets": self.targets, "seconds": self.seconds, "steps": self.steps, "targets_per_second": rate}


Train = Callable[[dict[str, Any], Data, Clock], dict[str, Any]]


def main(train: Train, packages: Sequence[str]) -> None:
    """Run the job named on the command line; `train` returns the system's settings, or goes on until the clock ends it.

    Settings are put into `job["settings"]` where training is ended from inside.
    """
    job = json.loads(Path(sys.argv[1]).read_text())
    os.sched_setaffinity(0, job["cores"])
    limit_memory(job["memory_bytes"])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    result: dict[str, Any] = {"versions": {name: version(name) for name in (*packages, "torch", "numpy")}}
    clock = Clock(job)
    try:
        result |= train(job, load(job), clock)
    except Enough:
        result |= clock.result()
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in _NO_MEMORY):
            raise
        traceback.print_exc()
        result["outcome"] = "out of memory"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"outcome": "ok"} | result | {"settings": job.get("settings"), "peak_bytes": peak}))


def limit_memory(num_bytes: int) -> None:
    """Make a request beyond the limit fail in this process, before the machine has to choose what to end."""
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))


def load(job: dict[str, Any]) -> Data:
    """The job's data; the same users are evaluated in every system."""
    with np.load(job["data"]) as stored:
        columns = {name: stored[name] for name in ("items_N", "offsets_U1", "targets_U")}
        num_items = int(stored["num_items"])
    users = np.random.default_rng(0).permutation(len(columns["targets_U"]))[: job["evaluated_users"]]
    return Data(**columns, evaluated=np.sort(users), num_items=num_items, length=job["length"])


def without_attention_dropout(model: torch.nn.Module) -> None:
    """Leave attention weights whole, where a library takes one rate for everything."""
    for module in model.modules():
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0


Scores = Callable[[list[np.ndarray]], torch.Tensor]


def evaluate(network: torch.nn.Module, data: Data, known: np.ndarray, first: int, scores: Scores) -> float:
    """NDCG@10 with the weights of this moment.

    The system numbers the items that it knows from `first` on, in the order of `known`; `scores` is given histories in
    these numbers.
    """
    place_of = np.zeros(data.num_items, np.int64)
    place_of[known] = np.arange(first, first + len(known))
    network.eval()
    value = ndcg(data, known, lambda histories: scores([place_of[history] for history in histories]))
    network.train()
    return value


def ndcg(data: Data, known_items: np.ndarray, scores: Scores) -> float:
    """NDCG@10 of the next items among all that the system knows, those of the history left out.

    `scores` gives `[B, V]` for histories (their newest `length` items), a column for each of `known_items`. A target
    that the system does not know, or scores that are no numbers, count as a miss.
    """
    column_of = np.full(data.num_items, -1)
    column_of[known_items] = np.arange(len(known_items))
    total = 0.0
    for first in range(0, len(data.evaluated), _EVALUATED_TOGETHER):
        users = data.evaluated[first : first + _EVALUATED_TOGETHER]
        histories = [data.history(user) for user in users]
        with torch.no_grad():
            scores_BV = scores([history[-data.length :] for history in histories]).numpy().copy()
        total += sum(
            _gain(row_V, column_of[history], int(column_of[data.targets_U[user]]))
            for row_V, history, user in zip(scores_BV, histories, users, strict=True)
        )
    return total / len(data.evaluated)


def _gain(scores_V: np.ndarray, seen: np.ndarray, target: int) -> float:
    if target < 0:
        return 0.0
    own = scores_V[target]
    scores_V[seen[seen >= 0]] = -np.inf
    scores_V[target] = own
    rank = 1 + int((~(scores_V <= own)).sum())
    return float(1 / np.log2(rank + 1)) if rank <= 10 else 0.0


def left_padded(histories: list[np.ndarray], length: int, padding: int) -> torch.Tensor:
    """Histories as rows that end together, `[B, length]`."""
    rows = torch.full((len(histories), length), padding, dtype=torch.long)
    for row, history in zip(rows, histories, strict=True):
        row[length - len(history) :] = torch.from_numpy(np.ascontiguousarray(history))
    return rows
