"""What `train.precision bf16` saves and costs on a processor: the time of a step, and the quality of what is trained.

    python benchmarks/precision.py --data ../shared/data [--only rates] [--steps 60] [--epochs 6] [--seeds 2]

On ML-1M by the bare loop, on one thread. Steps of the default recipe, of `sasrec`, and of `sasrec` with 128 sampled
negatives and a table of rows, in turn; medians count. Then `sasrec` is trained for so many epochs each way from the
same seeds and tested; the difference of each user's NDCG@10 is averaged over seeds before users are resampled. Figures
go to benchmarks/results/precision.json.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from accuracy import Study, train_and_measure
from running import RESULTS
from throughput import bare, timed_recipe

from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.statistics import mean_interval
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

RESULT = RESULTS / "precision.json"
LOG, PRECISIONS = "ml-1m/ml-1m", ("fp32", "bf16")
SAMPLED = {"encoder.items": {"kind": "rows"}, "objective.softmax": {"kind": "sampled", "num_negatives": 128}}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", choices=("rates", "quality"), help="the other part stays as it is stored")
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--epochs", type=float, default=6)
    arguments.add_argument("--seeds", type=int, default=2)
    options = arguments.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    told = {"environment": environment(use_gpu=False), "load": os.getloadavg()[0]}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        places = {"logs.uri": str(options.data / LOG), "corpus.uri": f"{folder}/corpus", "train.log_every": 10}
        base = with_values(sasrec(), places)
        connect()
        corpus = open_or_prepare(base)
        ray.shutdown()  # it would work beside what is timed
        if options.only != "quality":
            result["rates"] = told | {name: in_turn(recipe, corpus, options) for name, recipe in sizes(base).items()}
        if options.only != "rates":
            result["quality"] = told | trained(with_values(base, {"train.epochs": options.epochs}), corpus, options)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def sizes(base: Recipe) -> dict[str, Recipe]:
    """The recipes whose steps are timed."""
    default = with_values(Recipe(name="default"), {"train.log_every": base.train.log_every})
    return {"default": default, "sasrec": base, "sasrec, sampled": with_values(base, SAMPLED)}


def in_turn(recipe: Recipe, corpus: Corpus, options: argparse.Namespace) -> dict[str, float]:
    """Interactions a second each way, and their ratio."""
    timed = [
        timed_recipe(with_values(recipe, {"train.precision": precision}), options.steps) for precision in PRECISIONS
    ]
    found = [[bare(one, corpus)["interactions_per_second"] for one in timed] for _ in range(options.repeats)]
    fp32, bf16 = (statistics.median(rates) for rates in zip(*found, strict=True))
    return {"fp32": fp32, "bf16": bf16, "bf16_over_fp32": bf16 / fp32}


def trained(recipe: Recipe, corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """NDCG@10 each way, and what bf16 adds to it with its interval."""
    found = {
        precision: np.mean([tested(recipe, precision, seed, corpus) for seed in range(options.seeds)], 0)
        for precision in PRECISIONS
    }
    config = recipe.evaluation
    difference = mean_interval(found["bf16"] - found["fp32"], config.num_bootstrap, config.confidence)
    means = {precision: float(ndcg_U.mean()) for precision, ndcg_U in found.items()}
    return means | {
        "difference": dict(zip(("mean", "low", "high"), difference, strict=True)),
        "seeds": options.seeds,
        "epochs": options.epochs,
    }


def tested(recipe: Recipe, precision: str, seed: int, corpus: Corpus) -> list[float]:
    """Each test user's NDCG@10 after one training."""
    study = Study(f"ml-1m, {precision}", LOG, lambda: with_values(recipe, {"train.precision": precision}), 0, "")
    ndcg_U: list[float] = train_and_measure(study, seed, corpus)["ndcg@10"]
    return ndcg_U


if __name__ == "__main__":
    main()
