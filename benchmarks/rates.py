"""Interactions a second of the systems that read more than items, each beside `sasrec` of equal width on its own log.

    python benchmarks/rates.py --data ../shared/data [--steps 200] [--repeats 3]

Both train by the bare loop on the same windows in the same batches: 64 numbers, 50 events, 2,048 tokens a step. They
take turns, in one process on one thread; medians count. What a system learns from beside the next item, such as a
second view of each item or what is known of users, is part of its time. Figures go to benchmarks/results/rates.json.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import userbert_rakuten
from dupn import LSTMS, STUDIES, recipe_of
from running import RESULTS
from throughput import bare, timed_recipe
from two_towers import arms
from uprec import LOGS, sized

from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

SIZE = {"encoder.width": 64, "stream.max_len": 50, "stream.batch_tokens": 2048, "stream.windows": "tile"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    torch.set_num_threads(1)
    connect()
    rows = {
        name: compared(recipe, str(options.data / log), options.steps, options.repeats)
        for name, (log, recipe) in systems().items()
    }
    told = {"environment": environment(use_gpu=False), "load": load, "steps": options.steps, "rows": rows}
    (RESULTS / "rates.json").write_text(json.dumps(told, indent=1) + "\n")
    for name, row in rows.items():
        print(f"{name:16s} {row['rate']:>8,.0f}/s  sasrec {row['sasrec']:>8,.0f}/s  {row['over_sasrec']:.2f}")


def systems() -> Mapping[str, tuple[str, Recipe]]:
    """The log and the recipe of each system, as its own study has them."""
    invoices, bundled = STUDIES["online-retail"], userbert_rakuten.STUDIES["online-retail"]
    return {
        "two_towers": ("amazon-2014-Beauty", arms("beauty", 1.0, None)["correlated, uniform"]),
        "dupn": (invoices.log, recipe_of(invoices, LSTMS["gates"], 1.0, 1)),
        "userbert_rakuten": (bundled.log, userbert_rakuten.recipe_of(bundled, "both, profile", 1.0, 0)),
        "uprec": ("yelp-hin", sized(LOGS["yelp-hin"], 1.0, 0)),
    }


def compared(recipe: Recipe, log: str, steps: int, repeats: int) -> dict[str, Any]:
    """Medians of both in turn on one log, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        own = with_values(recipe, SIZE | {"logs.uri": log, "corpus.uri": f"{folder}/corpus"})
        same = {name: getattr(own, name).model_dump() for name in ("logs", "corpus", "split", "stream")}
        other = with_values(Recipe.model_validate(sasrec().model_dump() | same), {"encoder.width": own.encoder.width})
        corpus, timed = open_or_prepare(own), [timed_recipe(one, steps) for one in (own, other)]
        found = [[bare(one, corpus)["interactions_per_second"] for one in timed] for _ in range(repeats)]
    rate, beside = (statistics.median(rates) for rates in zip(*found, strict=True))
    return {"rate": rate, "sasrec": beside, "over_sasrec": rate / beside, "log": log.rsplit("/", 1)[-1]}


if __name__ == "__main__":
    main()
