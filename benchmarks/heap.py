"""What a step costs where freed memory is given back to the system, and where it is kept for the next tensor.

    python benchmarks/heap.py --data ../shared/data [--steps 40] [--repeats 3]

`sasrec`, whose tensors are small, and `two_towers` with its contrast, which compares all of a batch with all of it, on
Amazon Beauty, by the bare loop on one thread. Each measurement is a process of its own, as the switch holds for as long
as one runs; both ways take turns, medians count. Figures go to benchmarks/results/heap.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from running import RESULTS
from throughput import bare, timed_recipe
from two_towers import arms

from ray_userrep.corpus.store import open_corpus
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training import loop
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

NAMES = ("sasrec", "correlated, uniform")
WAYS = ("given back", "kept")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--one", nargs=3, metavar=("NAME", "WAY", "CORPUS"), help="one measurement, in this process")
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, data=options.data, steps=options.steps)))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Every recipe both ways, in turn, each in a process of its own."""
    load = os.getloadavg()[0]
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {way: [] for way in WAYS} for name in NAMES}
    with tempfile.TemporaryDirectory() as corpus:
        connect()
        open_or_prepare(recipe_of(NAMES[0], options.data, corpus, options.steps))
        for _ in range(options.repeats):
            for name in NAMES:
                for way in WAYS:
                    told = ["--data", options.data, "--steps", str(options.steps), "--one", name, way, corpus]
                    done = subprocess.run([sys.executable, __file__, *told], capture_output=True, text=True, check=True)
                    found[name][way].append(json.loads(done.stdout.splitlines()[-1]))
    rows = {
        name: {
            way: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for way, runs in by_way.items()
        }
        for name, by_way in found.items()
    }
    report = {"environment": environment(use_gpu=False), "load": load, "steps": options.steps, "rows": rows}
    (RESULTS / "heap.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, row in rows.items():
        before, after = (row[way]["step_ms"] for way in WAYS)
        print(f"{name:24s} {before:6.1f} ms a step, {after:6.1f} ms where it is kept, {after / before:.2f}")


def one(name: str, way: str, corpus: str, *, data: Path, steps: int) -> dict[str, float]:
    """A step (ms), and the most memory (MiB)."""
    torch.set_num_threads(1)
    if way == "given back":
        loop.keep_freed_memory = lambda: None
    rates = bare(recipe_of(name, data, corpus, steps), open_corpus(corpus))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"step_ms": rates["step_ms"], "peak_mib": peak}


def recipe_of(name: str, data: Path, corpus: str, steps: int) -> Recipe:
    """The recipe as the study of two towers has it, with a record every few steps."""
    places = {"logs.uri": str(data / "amazon-2014-Beauty"), "corpus.uri": corpus, "train.log_every": 5}
    return timed_recipe(with_values(arms("beauty", 8.0, None)[name], places), steps)


if __name__ == "__main__":
    main()
