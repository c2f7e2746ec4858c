"""Memory of pretraining on a catalogue of ten million items, on one rank and on two that hold it between them.

    python benchmarks/shards.py --scratch FOLDER [--items 10000000] [--interactions 20000000]

A log in which each item occurs at least once is prepared and pretrained on by `sasrec` with a table of rows, 64 numbers
an item. It is stopped after its first checkpoint and goes on from that, so that all moments are in memory, also those
of rows that no step has touched. Steps, a validation, the best weights, a checkpoint and the export follow each other,
and the job is ended when the encoder is there: its files tell which of these is at work. Memory is the sum of
proportional set sizes, sampled, by kind of process. On disk are needed about 1,600 bytes an item. Figures go to
benchmarks/results/shards.json; log, corpus and figures stay in the folder and are not made again, runs are deleted.
"""

import argparse
import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import KINDS, MIB, peaks, watched
from running import RESULTS

from ray_userrep.command import parse
from ray_userrep.corpus.store import open_corpus
from ray_userrep.scaling.study.point import plan_of
from ray_userrep.training.runs import environment

FILES, WIDTH, LOGGED = 20, 64, 10
PHASES = ("start", "steps", "validation", "best weights", "checkpoint", "export")
COLUMNS = '{"user_id": "user", "item_id": "item", "timestamp": "time"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--interactions", type=int, default=20_000_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--users", type=int, default=200, help="that are validated")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scratch", type=Path, required=True, help="folder for log, corpus and runs")
    options = parser.parse_args()
    told = {name: value for name, value in vars(options).items() if name != "scratch"}
    found: dict[str, Any] = {"environment": environment(False), "options": told}
    log, corpus = options.scratch / "log", options.scratch / "corpus"
    write_log(log, options.items, options.interactions)
    if not corpus.exists():
        columns = ("--logs.columns", COLUMNS, "--logs.timestamp_unit", "us")
        watched("prepare", "--logs", str(log), "--corpus", str(corpus), *columns)
    found["table_mib"] = options.items * WIDTH * 4 / MIB
    for ranks in options.ranks:
        run, kept = options.scratch / f"run-{ranks}", options.scratch / f"ranks-{ranks}.json"
        if not kept.exists():
            kept.write_text(json.dumps(trained(corpus, run, ranks, options) | {"load": os.getloadavg()[0]}))
            shutil.rmtree(run)
        found[f"{ranks} ranks"] = json.loads(kept.read_text())
        print(json.dumps(found[f"{ranks} ranks"], indent=1), flush=True)
    (RESULTS / "shards.json").write_text(json.dumps(found, indent=1) + "\n")


def write_log(folder: Path, items: int, interactions: int) -> None:
    """Every item once, in any order, and what is left by a Zipfian law; users of 20 interactions on average."""
    rng, per_file = np.random.default_rng(0), interactions // FILES
    folder.mkdir(parents=True, exist_ok=True)
    item = np.concatenate([rng.permutation(items), (items ** rng.random(interactions - items)).astype(np.int64)])
    item = rng.permutation(item).astype(np.int64)
    for number in range(0 if (folder / f"{FILES - 1}.parquet").exists() else FILES):
        mine = item[number * per_file : (number + 1) * per_file if number < FILES - 1 else None]
        user = rng.integers(0, interactions // 20, len(mine))
        time = 1_600_000_000_000_000 + np.arange(len(mine)) * 10**6 + number * 10**13
        pq.write_table(pa.table({"user": user, "item": mine, "time": time}), folder / f"{number}.parquet")


def trained(corpus: Path, run: Path, ranks: int, options: argparse.Namespace) -> dict[str, Any]:
    """Peaks (MiB) of each phase, of one rank on average and of all processes, and seconds of a step and of phases."""
    seen: list[str] = []
    first, last = (run / "checkpoints" / f"step-{step:08d}" for step in (options.steps // 2, options.steps))

    def is_there() -> bool:
        seen.append(phase(run, first, last))
        if seen[-1] == "steps":
            shutil.rmtree(first, ignore_errors=True)  # the disk need not hold both
        return (run / "encoder" / "checksums.json").exists()

    of = ["--recipe", "sasrec", "--encoder.width", str(WIDTH), "--encoder.items.kind", "rows"]
    of += ["--objective.softmax.kind", "sampled", "--objective.softmax.sampler", "log_uniform"]
    of += ["--evaluation.max_users", str(options.users), "--train.max_steps", str(options.steps)]
    of += ["--train.num_workers", str(ranks), "--train.cpus_per_worker", "1", "--train.zero.stage", "1"]
    of += ["--corpus", str(corpus), "--run", str(run), "--train.log_every", str(LOGGED), "--train.eval_every", "99"]
    every = options.steps / 2 / plan_of(parse(of), open_corpus(str(corpus))).num_batches
    of += ["--train.checkpoint_every", str(every)]
    watched("pretrain", *of, until=lambda: (first / "manifest.json").exists())
    samples = watched("pretrain", *of, until=is_there)
    found: dict[str, Any] = {"seconds_a_step": seconds_a_step(run), "phases": {}}
    for name in PHASES:
        mine = [sample for sample, what in zip(samples, seen, strict=True) if what == name]
        if mine:
            most = peaks(mine)
            figures = {kind: most[kind] for kind in KINDS if kind != "ranks"} | {"together": most["together"]}
            span = mine[-1].seconds - mine[0].seconds
            found["phases"][name] = {"one rank": most["ranks"] / ranks, **figures, "seconds": span}
    return found | {"peak_mib": peaks(samples)["together"]}


def phase(run: Path, first: Path, last: Path) -> str:
    """What a run that goes on from its first checkpoint is at, by what has come of it: the parts follow each other."""
    if (last / "manifest.json").exists():
        return "export"
    if last.exists():
        return "checkpoint"
    if (run / "best").exists():
        return "best weights"
    records = records_of(run)
    if records[-1]["step"] == int(first.name.partition("-")[2]):
        return "start"
    return "validation" if records[-1]["step"] == records[-1]["total_steps"] else "steps"


def records_of(run: Path) -> list[dict[str, Any]]:
    """The records of steps so far, whole lines only."""
    place = run / "metrics.jsonl"
    lines = place.read_text().rpartition("\n")[0].splitlines() if place.exists() else []
    return [record for record in map(json.loads, lines) if record["kind"] == "train"]


def seconds_a_step(run: Path) -> float:
    """The median over the stretches between two records, but for the first."""
    seconds = [record["seconds"] for record in records_of(run)]
    return statistics.median(np.diff(seconds)) / LOGGED


if __name__ == "__main__":
    main()
