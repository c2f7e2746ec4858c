"""Seconds of training that each library takes to its best NDCG@10, and ours to the same.

    python benchmarks/quality.py [--data beauty ml1m] [--losses full sampled] [--seconds 90] [--seeds 0 1 2]

Systems, data and settings are those of benchmarks/training.py, of each library what is fastest there. A process has one
core of its own; as many run at once as this process may use (`taskset`). With the first seed every rate is tried, and a
system keeps the better one with the others. The same validation users are evaluated in all systems, which does not
count as time; a run ends after so many seconds of training, or so many evaluations without a gain. Ours has reached
what a peer's run of the same seed did at the first evaluation that is no worse. Figures go to `--results`,
quality.json.
"""

import argparse
import json
import os
import queue
import statistics
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from peers.cases import head, prepared, shared_arguments
from peers.runs import BARE, Case, Job, Row, Runner

SYSTEMS = (BARE, "rectools", "recbole", "replay, trimmed")
TOO_SLOW = {("ml1m", "recbole"): "a step takes 25 s and 12 GB"}


class Trial(NamedTuple):
    """One training."""

    data: str
    loss: str
    system: str
    seed: int
    rate: float


def main() -> None:
    options = arguments()
    result = head(options) | {"left_out": {" ".join(which): why for which, why in TOO_SLOW.items()}}
    with tempfile.TemporaryDirectory() as scratch:
        cases, run = prepared(options, Path(scratch))
        race = Race(cases, run, sorted(os.sched_getaffinity(0)))
        first, *others = options.seeds
        known = [(data, loss, system) for data in options.data for loss in options.losses for system in SYSTEMS]
        known = [one for one in known if one[2].split(",")[0] in options.systems and (one[0], one[2]) not in TOO_SLOW]
        race.all(Trial(*one, first, rate) for one in known for rate in options.rates)
        race.all(Trial(*one, seed, race.best_rate(*one, first)) for one in known for seed in others if race.ran(*one))
    result["runs"] = [trial._asdict() | row for trial, row in race.rows.items()]
    result["reached"] = reached(race, options)
    options.results.mkdir(exist_ok=True)
    (options.results / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["reached"]))


def arguments() -> argparse.Namespace:
    parser = shared_arguments(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=90, help="of training, in a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3], help="of all systems")
    parser.add_argument("--patience", type=int, default=4, help="evaluations without a gain")
    parser.add_argument("--evaluate-every", type=float, default=1.0, help="epochs")
    parser.add_argument("--evaluated-users", type=int, default=2000)
    parser.set_defaults(threads=[1], warmup_seconds=0.0, seed=0, learning_rate=0.0, our_learning_rate=0.0)
    return parser.parse_args()


class Race:
    """Runs trials, each on a core that no other has meanwhile."""

    def __init__(self, cases: Iterable[Case], run: Runner, cores: Iterable[int]) -> None:
        self.rows: dict[Trial, Row] = {}
        self._cases = {(case.data, case.job["loss"]): case for case in cases}
        self._run = run
        self._free: queue.Queue[int] = queue.Queue()
        for core in cores:
            self._free.put(core)

    def all(self, trials: Iterable[Trial]) -> None:
        """Run them, the longest waiting first."""
        with ThreadPoolExecutor(self._free.qsize()) as pool:
            list(pool.map(self._one, trials))

    def _one(self, trial: Trial) -> None:
        core = self._free.get()
        row = self._run(trial.system, job_of(self._cases[trial.data, trial.loss], trial) | {"cores": [core]})
        self._free.put(core)
        self.rows[trial] = {name: row.get(name) for name in ("outcome", "curve", "settings", "versions", "peak_bytes")}
        told = f"{best(row):.4f} after {len(row['curve'])} evaluations" if row.get("curve") else row["outcome"]
        print(
            f"{trial.data:7s}{trial.loss:8s} {trial.system:16s} seed {trial.seed} rate {trial.rate:g}  {told}",
            flush=True,
        )

    def ran(self, data: str, loss: str, system: str) -> bool:
        """Whether a system can do this at all."""
        return any(row["curve"] for trial, row in self.rows.items() if trial[:3] == (data, loss, system))

    def best_rate(self, data: str, loss: str, system: str, seed: int) -> float:
        """The rate with which a system was best."""
        tried = {t.rate: best(row) for t, row in self.rows.items() if t[:4] == (data, loss, system, seed)}
        return max(tried, key=lambda rate: tried[rate])


def job_of(case: Case, trial: Trial) -> Job:
    """A case's job with the seed and learning rate of a trial, also in the recipe that ours is told."""
    train = case.recipe.train.model_copy(update={"learning_rate": trial.rate})
    recipe = case.recipe.model_copy(update={"seed": trial.seed, "train": train})
    return case.job | {"seed": trial.seed, "learning_rate": trial.rate, "recipe": recipe.model_dump_json()}


def best(row: Row) -> float:
    """The best NDCG@10 of a run."""
    score: float = max(point["ndcg@10"] for point in row["curve"])
    return score


def reached(race: Race, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Of each case and peer: its best and when, and when ours was there; lists are by seed."""
    found = []
    for data, loss, system in sorted({trial[:3] for trial in race.rows}):
        if system == BARE or not race.ran(data, loss, system):
            continue
        told: dict[str, Any] = {"data": data, "loss": loss, "peer": system}
        told["rate"] = race.best_rate(data, loss, system, options.seeds[0])
        our_rate = race.best_rate(data, loss, BARE, options.seeds[0])
        for seed in options.seeds:
            theirs = race.rows[Trial(data, loss, system, seed, told["rate"])]
            ours = race.rows[Trial(data, loss, BARE, seed, our_rate)]
            score = best(theirs)
            told.setdefault("best", []).append(score)
            told.setdefault("seconds", []).append(first_at(theirs, score))
            told.setdefault("our_seconds", []).append(first_at(ours, score))
            told.setdefault("our_best", []).append(best(ours))
        found.append(told | {"our_rate": our_rate})
    return found


def first_at(row: Row, score: float) -> float | None:
    """When a run was first as good, in seconds; None where it never was."""
    return next((point["seconds"] for point in row["curve"] if point["ndcg@10"] >= score), None)


def table(found: list[dict[str, Any]]) -> str:
    """A line a case and peer: means over seeds."""
    lines = []
    for told in found:
        pairs = [(a, b) for a, b in zip(told["our_seconds"], told["seconds"], strict=True) if a is not None]
        share = f"{statistics.mean(a / b for a, b in pairs):.2f} of its time" if pairs else "never"
        best_of = f"{statistics.mean(told['best']):.4f} (ours {statistics.mean(told['our_best']):.4f})"
        seconds = f"{statistics.mean(told['seconds']):.0f} s"
        lines.append(
            f"{told['data']:7s}{told['loss']:8s} {told['peer']:16s} {best_of} in {seconds}; ours there in {share}, "
            f"{len(pairs)} of {len(told['seconds'])} seeds"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
