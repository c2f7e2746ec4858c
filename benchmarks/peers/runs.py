"""Running the systems in turn, each job in a fresh process of its environment, and telling what came of it."""

import json
import os
import statistics
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_userrep.recipe.recipe import Recipe

BARE, RAY = "ray_userrep", "ray_userrep, Ray"
_WHOLE = {"attention_dropout": 0.0}
# What a job says of each besides what it says of all.
SYSTEMS: dict[str, dict[str, Any]] = {
    BARE: {},
    RAY: {"measure": "ray"},
    "rectools": {"flat": False},
    "rectools, flat": {"flat": True},
    "rectools, flat, attention whole": {"flat": True} | _WHOLE,
    "recbole": {},
    "recbole, attention whole": _WHOLE,
    "replay": {"trim": False},
    "replay, trimmed": {"trim": True},
    "replay, trimmed, attention whole": {"trim": True} | _WHOLE,
}
Job = dict[str, Any]
Row = dict[str, Any]


@dataclass
class Case:
    """A data set and a loss: what all systems are given."""

    name: str
    data: str
    recipe: Recipe
    job: Job


@dataclass
class Runner:
    """Runs one of `SYSTEMS` by its module of this folder, with the interpreter of its peer, or with ours."""

    pythons: dict[str, str]
    scratch: Path

    def __call__(self, system: str, job: Job) -> Row:
        """What the process said of itself; one that was killed ran out of memory."""
        peer = system.split(",")[0]
        module = "ours" if peer == BARE else peer
        path = self.scratch / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(job | SYSTEMS[system]))
        here = str(Path(__file__).absolute().parents[1])
        paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            # Not by path: that would put this folder first on the path, where modules are named as the peers are.
            [self.pythons.get(peer, sys.executable), "-P", "-m", f"peers.{module}", str(path)],
            capture_output=True,
            text=True,
            cwd=self.scratch,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(job["threads"])},
        )
        if done.returncode in (-9, 137):
            return {"outcome": "out of memory"}
        if done.returncode:
            print(f"{system} failed\n{(done.stderr or '')[-3000:]}", file=sys.stderr, flush=True)
            return {"outcome": f"failed with {done.returncode}"}
        row: Row = json.loads(done.stdout.strip().splitlines()[-1])
        return row


def measured(case: Case, systems: Sequence[str], repeats: int, run: Runner) -> dict[str, Row]:
    """All systems in turn, several times over; what ran out of memory is not tried again."""
    seen: dict[str, list[Row]] = {name: [] for name in systems}
    for _ in range(repeats):
        for name, runs in seen.items():
            if not runs or runs[-1]["outcome"] == "ok":
                load = os.getloadavg()[0]  # of the last minute, in which the run before had its threads
                job = case.job | _as_long_as(seen[BARE][-1], case.job) if name == RAY else case.job
                runs.append(run(name, job) | {"load_before": load})
                print(f"{case.name:34s} {name:32s} {told(runs[-1])}   (load {load:.1f})", flush=True)
    return {name: _summary(runs) for name, runs in seen.items()}


def _as_long_as(bare: Row, job: Job) -> Job:
    """As many steps as the bare loop just took, its warm-up included."""
    return {"steps": max(100, round(bare["steps"] * (1 + job["warmup_seconds"] / job["seconds"])))}


def _summary(runs: list[Row]) -> Row:
    """The last run with the median of all rates."""
    good = [run for run in runs if run["outcome"] == "ok"]
    if not good:
        return runs[-1]
    rates = [run["targets_per_second"] for run in good]
    together = {"targets_per_second": statistics.median(rates), "runs": rates}
    return good[-1] | together | {"outcome": runs[-1]["outcome"], "peak_bytes": max(run["peak_bytes"] for run in good)}


def told(row: Row) -> str:
    """A run in a few words."""
    if row["outcome"] != "ok":
        return str(row["outcome"])
    return f"{row['targets_per_second']:>12,.0f} interactions/s"


def table(cases: dict[str, dict[str, Row]]) -> str:
    """Every system's figure, with how many times as fast ours is."""
    lines = []
    for case, rows in cases.items():
        base = _speed(rows.get(BARE))
        lines.append(case)
        for name, row in rows.items():
            speed = _speed(row)
            over = f"   ours {base / speed:.2f}×" if base and speed and name != BARE else ""
            lines.append(f"  {name:32s} {told(row)}{over}")
    return "\n".join(lines)


def _speed(row: Row | None) -> float | None:
    """The more, the faster."""
    if row is None or row["outcome"] != "ok":
        return None
    rate: float = row["targets_per_second"]
    return rate
