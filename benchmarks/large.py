"""A log as large as the disk takes: how it is prepared, and how soon a pretraining on it takes its first steps.

    python benchmarks/large.py --scratch FOLDER [--interactions 1000000000] [--workers 1]

The log is that of benchmarks/prepare.py: a fiftieth as many users, a twentieth as many items. Its preparation, and
pretrainings by `sasrec` with hashed items, are processes that are watched; a pretraining is ended when it has told of
its first steps. It trains alone, as it does by default, or on workers of one core, where memory of ranks is apart from
the driver's, with two kinds of negatives. On disk are needed about 70 bytes an interaction: log, rows and sequences
that are staged. Figures go to benchmarks/results/large.json; log and corpus stay in the folder, and are not made again.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from memory import Sample, peaks, watched
from preparers.log import write_log
from running import RESULTS

from ray_userrep.corpus.store import open_corpus
from ray_userrep.training.runs import environment

ALONE = ("--train.cpus_per_worker", "1")
WORKERS = (*ALONE, "--train.zero.stage", "1", "--train.num_workers")
SAMPLER = "--objective.softmax.sampler"
BY_RANK, BY_COUNTS = (
    (SAMPLER, "log_uniform"),
    (SAMPLER, "counts"),
)  # the latter of what is trained on, of all of the log
COLUMNS = '{"user_id": "user", "item_id": "item", "timestamp": "time"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for log, corpus and runs")
    options = parser.parse_args()
    log, corpus = options.scratch / "log", options.scratch / "corpus"
    found: dict[str, Any] = {"environment": environment(False), "interactions": options.interactions}
    found["log_bytes"] = write_log(log, options.interactions, "int")
    kept = options.scratch / "prepared.json"
    if not kept.exists():
        load = os.getloadavg()[0]
        columns = ("--logs.columns", COLUMNS, "--logs.timestamp_unit", "us")
        samples = watched("prepare", "--logs", str(log), "--corpus", str(corpus), *columns)
        kept.write_text(json.dumps(told(samples) | {"load": load}))
    manifest = open_corpus(str(corpus)).manifest
    found["corpus"] = {"users": manifest.num_users, "items": manifest.num_items, "buckets": manifest.num_buckets}
    found["prepare"] = json.loads(kept.read_text())
    found["prepare"]["interactions_per_second"] = manifest.num_interactions / found["prepare"]["seconds"]
    place = options.scratch / f"run-{time.time_ns()}"
    workers = (*WORKERS, str(options.workers))
    arms = {"alone": ALONE + BY_RANK, "workers": workers + BY_RANK, "workers, by counts": workers + BY_COUNTS}
    found["start"] = {
        name: told(started(corpus, Path(f"{place}-{number}"), *arm)) for number, (name, arm) in enumerate(arms.items())
    }
    (RESULTS / "large.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def started(corpus: Path, run: Path, *options: str) -> list[Sample]:
    """A pretraining up to the record of its first steps."""
    records = run / "metrics.jsonl"

    def is_told() -> bool:
        return records.exists() and '"kind": "train"' in records.read_text()

    of = ("--recipe", "sasrec", "--encoder.items.kind", "hashed", "--objective.softmax.kind", "sampled")
    return watched("pretrain", "--corpus", str(corpus), "--run", str(run), *of, *options, until=is_told)


def told(samples: list[Sample]) -> dict[str, Any]:
    """Seconds until the end, and peaks of memory (MiB)."""
    return {"seconds": samples[-1].seconds, "peak_mib": peaks(samples)}


if __name__ == "__main__":
    main()
