"""Interactions per second of the default recipe: the bare loop, Ray with DeepSpeed, one worker and two.

    python benchmarks/throughput.py

The ways run in turn, several times over, in one run on one machine; medians and ratios are what counts. Warm-up steps
are left out. The result, with machine, versions, commit and date, goes to benchmarks/results/throughput.json.
"""

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path

import torch

from ray_userrep.corpus.store import Corpus
from ray_userrep.distributed.workers import fit_distributed
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.online_retail import online_retail
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit
from ray_userrep.training.runs import environment, read_records
from ray_userrep.workflows.prepare import open_or_prepare

WARMUP_RECORDS = 2
RESULT = Path(__file__).parent / "results" / "throughput.json"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=240)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    connect()
    recipe = timed_recipe(online_retail(), options.steps)
    corpus = open_or_prepare(recipe)
    ways = {"bare loop": bare, "Ray, ZeRO-0, 1 worker": one_worker, "Ray, ZeRO-0, 2 workers": two_workers}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            seen[name].append(way(recipe, corpus))
            print(name, seen[name][-1], flush=True)
    rows = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in seen.items()}
    base = rows["bare loop"]["interactions_per_second"]
    for name, row in rows.items():
        row["over_bare"] = row["interactions_per_second"] / base
        print(f"{name:24s} {row['interactions_per_second']:>10,.0f}/s  {row['step_ms']:6.1f} ms a step  "
              f"{row['over_bare']:.2f} of bare  data wait {row['data_wait']:.2%}")  # fmt: skip
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"environment": environment(), "options": vars(options), "rows": rows}, indent=2))


def timed_recipe(recipe: Recipe, steps: int) -> Recipe:
    """The recipe without validation or checkpoints inside the steps that are timed."""
    far = 1e9
    train = recipe.train.model_copy(update={"max_steps": steps, "eval_every": far, "checkpoint_every": far})
    return recipe.model_copy(update={"train": train})


def bare(recipe: Recipe, corpus: Corpus) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as run:
        fit(recipe, corpus, run, lambda m: BareEngine(m, recipe.train, torch.device("cpu")), lambda record: None)
        return rate(run)


def one_worker(recipe: Recipe, corpus: Corpus) -> dict[str, float]:
    return distributed(recipe, corpus, 1)


def two_workers(recipe: Recipe, corpus: Corpus) -> dict[str, float]:
    return distributed(recipe, corpus, 2)


def distributed(recipe: Recipe, corpus: Corpus, workers: int) -> dict[str, float]:
    train = recipe.train.model_copy(update={"num_workers": workers})
    with tempfile.TemporaryDirectory() as run:
        fit_distributed(recipe.model_copy(update={"train": train}), corpus, run, lambda record: None)
        return rate(run)


def rate(run: str) -> dict[str, float]:
    """Medians over the records after warm-up."""
    records = [r for r in read_records(run) if r["kind"] == "train"][WARMUP_RECORDS:]
    seconds = [b["seconds"] - a["seconds"] for a, b in itertools.pairwise(records)]
    steps = records[1]["step"] - records[0]["step"]
    return {
        "interactions_per_second": statistics.median(r["interactions_per_second"] for r in records),
        "step_ms": statistics.median(seconds) / steps * 1e3,
        "data_wait": statistics.median(r["data_wait"] for r in records),
    }


if __name__ == "__main__":
    main()
