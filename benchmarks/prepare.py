"""Preparing a log beside polars, DuckDB and Spark: wall time, interactions and bytes a second, peak memory.

    python benchmarks/prepare.py [--interactions 20000000 100000000] [--systems ours polars duckdb]

All do the same on the same disk and cores: set aside the rows of no use, count and number the items, count the days,
and write one row a user with items and times in the order of (time, row), in Parquet files by user hash. Each runs in a
process of its own, peers in an environment of theirs, in turn, several times over; medians count, and the counts of all
must agree. Memory is the sum of proportional set sizes over the process tree, sampled. Wall time is that of the whole
process. Ours is measured as a job that has joined no Ray, and on Rays of so many local nodes, whose start is in the
wall time and told apart. The result goes to benchmarks/results/prepare.json.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.environments import environment as peers_environment
from preparers.job import Job
from preparers.log import write_log
from preparers.memory import Sampled, tree

from ray_userrep.recipe.corpus import num_buckets_of
from ray_userrep.training.runs import environment

HERE = Path(__file__).parent
PEERS = ["polars==2.1.0", "duckdb==2.0.0", "pyspark==4.3.0"]
SYSTEMS = ("ours", "polars", "duckdb", "pyspark")
TIMES = ("seconds", "cpu_seconds", "ray_start_seconds", "prepare_seconds")
COUNTS = ("interactions", "users", "items", "rejected", "days")
MIB = 2**20
Row = dict[str, Any]


def main() -> None:
    options = arguments()
    peers = any(name != "ours" for name in options.systems)
    python = peers_environment("prepare", options.environments, [PEERS]) if peers else sys.executable
    result: Row = {"environment": environment(), "peers": PEERS, "options": told_options(options), "cases": {}}
    for number, interactions in enumerate(options.interactions):
        repeats = options.repeats[min(number, len(options.repeats) - 1)]
        folder = options.scratch / f"log-{options.ids}-{interactions}"
        num_bytes = write_log(folder, interactions, options.ids)
        rows = measured(options, folder, num_bytes, python, repeats)
        result["cases"][str(interactions)] = {"log_bytes": num_bytes, "systems": rows}
        options.results.parent.mkdir(exist_ok=True)
        options.results.write_text(json.dumps(result, indent=2) + "\n")
        print(table(interactions, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, nargs="+", default=[20_000_000, 100_000_000])
    parser.add_argument("--ids", choices=("int", "string"), default="int")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--nodes", type=int, nargs="+", default=[0, 1, 2], help="of Ray here, for ours; 0: none")
    parser.add_argument("--repeats", type=int, nargs="+", default=[3, 1], help="of each size, the last for the rest")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--object-store-mib", type=int, default=1024, help="of all Ray nodes")
    parser.add_argument("--memory-mib", type=int, default=8192, help="what DuckDB and Spark are allowed")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds after which a system is given up")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "prepare", metavar="DIR")
    parser.add_argument("--environments", type=Path, default=HERE / ".environments", metavar="DIR")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "prepare.json", metavar="FILE")
    return parser.parse_args()


def told_options(options: argparse.Namespace) -> Row:
    return {name: value for name, value in vars(options).items() if not isinstance(value, Path)}


def measured(options: argparse.Namespace, log: Path, num_bytes: int, python: str, repeats: int) -> dict[str, Row]:
    """All systems in turn, several times over; one that failed is not tried again."""
    ways = [(name, 0) for name in options.systems if name != "ours"]
    ways = [("ours", nodes) for nodes in options.nodes if "ours" in options.systems] + ways
    seen: dict[str, list[Row]] = {}
    for _ in range(repeats):
        for system, nodes in ways:
            name = system if nodes == 0 else f"{system}, Ray of {nodes}"
            runs = seen.setdefault(name, [])
            if not runs or runs[-1]["outcome"] == "ok":
                job = Job(
                    log=str(log),
                    output=str(options.scratch / "output"),
                    buckets=num_buckets_of(num_bytes),
                    threads=options.threads,
                    nodes=nodes,
                    object_store_bytes=options.object_store_mib * MIB // max(nodes, 1),
                    memory_bytes=options.memory_mib * MIB,
                )
                runs.append(run(system, job, sys.executable if system == "ours" else python, options))
                print(f"{name:16s} {line(runs[-1])}", flush=True)
    agree(seen)
    return {name: summary(runs, num_bytes) for name, runs in seen.items()}


def run(system: str, job: Job, python: str, options: argparse.Namespace) -> Row:
    """One preparation in a process of its own, watched from outside; what it wrote is measured and removed."""
    path = options.scratch / "job.json"
    path.write_text(json.dumps(asdict(job)))
    clear(job)
    paths = os.pathsep.join(filter(None, [str(HERE.absolute()), os.environ.get("PYTHONPATH", "")]))
    # Not by path: that would put a folder first on the path where modules are named as the peers are.
    command = [python, "-P", "-m", f"preparers.{system}", str(path)]
    began, load = time.perf_counter(), os.getloadavg()[0]
    with (options.scratch / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | {"PYTHONPATH": paths}
        )
        memory = Sampled(process)
        try:
            said, _ = process.communicate(timeout=options.timeout)
        except subprocess.TimeoutExpired:
            for pid in reversed(tree(process.pid)):
                os.kill(pid, signal.SIGKILL)
            process.wait()
            return {"outcome": f"more than {options.timeout:.0f} s"}
    seconds = time.perf_counter() - began
    row: Row = {"seconds": seconds, **memory.join(), "load_before": load}
    if process.returncode:
        print((options.scratch / "errors.txt").read_text()[-3000:], file=sys.stderr)
        return row | {"outcome": f"failed with {process.returncode}"}
    written = sum(file.stat().st_size for file in Path(job.output).rglob("*.parquet"))
    clear(job)
    return row | {"outcome": "ok", "written_bytes": written} | json.loads(said.strip().splitlines()[-1])


def clear(job: Job) -> None:
    for folder in (job.output, f"{job.output}-spill"):
        shutil.rmtree(folder, ignore_errors=True)


def agree(seen: dict[str, list[Row]]) -> None:
    """The systems did the same, as far as counts can tell."""
    counts = {tuple(row[name] for name in COUNTS) for runs in seen.values() for row in runs if row["outcome"] == "ok"}
    assert len(counts) <= 1, f"the systems found different {', '.join(COUNTS)}: {counts}"


def summary(runs: list[Row], num_bytes: int) -> Row:
    """The last run with the median times and the largest peak of all."""
    good = [row for row in runs if row["outcome"] == "ok"]
    if not good:
        return runs[-1]
    times = [name for name in TIMES if name in good[-1]]
    medians = {name: statistics.median(row[name] for row in good) for name in times}
    seconds = medians["seconds"]
    return good[-1] | {
        **medians,
        "runs": [row["seconds"] for row in good],
        "interactions_per_second": good[-1]["interactions"] / seconds,
        "bytes_per_second": num_bytes / seconds,
        "peak_bytes": max(row["peak_bytes"] for row in good),
    }


def line(row: Row) -> str:
    if row["outcome"] != "ok":
        return str(row["outcome"])
    used = f"{row['cpu_seconds']:7.1f} s of processor   peak {row['peak_bytes'] / MIB:7,.0f} MiB"
    return f"{row['seconds']:7.1f} s   {used}   load before {row['load_before']:.1f}"


def table(interactions: int, rows: dict[str, Row]) -> str:
    """Every system beside the fastest peer; ours on Ray also without its start and its end."""
    peers = [row["seconds"] for name, row in rows.items() if not name.startswith("ours") and row["outcome"] == "ok"]
    lines = [f"{interactions:,} interactions"]
    for name, row in rows.items():
        over = f"   {row['seconds'] / min(peers):.2f} of the fastest peer" if peers and row["outcome"] == "ok" else ""
        if over and "prepare_seconds" in row:
            over += f", {row['prepare_seconds'] / min(peers):.2f} where Ray runs already"
        lines.append(f"  {name:16s} {line(row)}{over}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
