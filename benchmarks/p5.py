"""P5 on next items and reviews: is more learned than counting, and what do whole words and the trie change?

    python benchmarks/p5.py --data ../shared/data [--runs runs/p5] [--only toys] [--steps 450] [--users 1000]

Toys (P5's own cut): sequential and direct prompts, seen and unseen, with shuffled numbers, numbers in the order of
first appearance, a token an item, and shuffled numbers without whole-word embeddings; counting on and the usual simple
methods beside them, and how many answers are no item without the trie. Gift Cards and Subscription Boxes: ratings,
summaries and explanations (features of explanations are a stand-in: frequent words). A tiny T5 from scratch on a share
of the users, meant for about 40 core minutes in all; `--steps`, `--share` and `--users` make it smaller. Runs that are
done are found again. With other sizes than the defaults, figures stay in the folder of the runs; else they go to
benchmarks/results/p5_LOG.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.p5 import p5
from ray_userrep.report.pages.text import printed
from ray_userrep.training.runs import environment

SIZES: dict[str, Any] = {"steps": 450, "share": 0.3, "users": 1000}
ITEMS, REVIEWS = ("sequential", "direct"), ("rating", "review", "explanation")
REVIEW_FIELDS = {"stream.max_len": 160, "generative.vocabulary": 4096}


class Study(NamedTuple):
    """A log, where it is, what of it is read, and the recipes that are tried on it."""

    folder: str
    logs: dict[str, Any]
    arms: dict[str, dict[str, Any]]


STUDIES = {
    "toys": Study(
        "amazon-2014-Toys_and_Games/p5",
        {"reader": "s3rec"},
        {
            "shuffled": {"generative.families": ITEMS},
            "sequence": {"generative.families": ITEMS, "generative.ids": "sequence"},
            "whole": {"generative.families": ITEMS, "generative.ids": "whole"},
            "no-words": {"generative.families": ITEMS, "generative.whole_words": False},
        },
    ),
    "gift_cards": Study(
        "amazon-2018-Gift_Cards",
        {"columns": {"review": "reviewText", "summary": "summary"}},
        {"reviews": {"generative.families": REVIEWS, **REVIEW_FIELDS}},
    ),
    "subscription_boxes": Study(
        "amazon-2023-Subscription_Boxes",
        {"reader": "amazon_2023", "columns": {"review": "text", "summary": "title"}},
        {"reviews": {"generative.families": REVIEWS, **REVIEW_FIELDS}},
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/p5")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--steps", type=int, default=SIZES["steps"], help="optimiser steps of each run")
    arguments.add_argument("--share", type=float, default=SIZES["share"], help="of Toys' users that are trained on")
    arguments.add_argument("--users", type=int, default=SIZES["users"], help="users that are measured")
    options = arguments.parse_args()
    sizes = {name: getattr(options, name) for name in SIZES}
    runs = storage.absolute(options.runs)
    kept = RESULTS if sizes == SIZES else Path(runs)
    for name, study in STUDIES.items():
        if name.startswith(options.only):
            place = storage.join(runs, name)
            data = storage.absolute(storage.join(options.data, study.folder))
            found = {arm: measured(place, arm, sized(name, arm, data, sizes)) for arm in study.arms}
            report = {"environment": environment(False), "sizes": sizes, "arms": found}
            (kept / f"p5_{name}.json").write_text(json.dumps(report, indent=1) + "\n")
            print("\n".join(f"\n{name}, {arm}\n{printed(result)}" for arm, result in found.items()))


def sized(name: str, arm: str, data: str, sizes: dict[str, Any]) -> Recipe:
    """The recipe of an arm, in a size for one core; simple methods stand beside the first arm alone."""
    study = STUDIES[name]
    fields = {
        "logs.uri": data,
        **{f"logs.{field}": value for field, value in study.logs.items()},
        "stream.user_share": sizes["share"] if name == "toys" else 1.0,
        "train.max_steps": sizes["steps"],
        "train.epochs": 1000.0,  # the steps are what ends it
        "train.eval_every": 1000.0,
        "train.checkpoint_every": 0.5,
        "train.patience": None,
        "train.learning_rate": 3e-3,
        "train.cpus_per_worker": 1,
        "generative.dropout": 0.0,
        "evaluation.max_users": sizes["users"],
        "evaluation.baselines": arm == next(iter(study.arms)),
        **study.arms[arm],
    }
    return with_values(p5(), fields)


def measured(place: str, arm: str, recipe: Recipe) -> dict[str, Any]:
    """What a run stored, made where it is not there yet."""
    run, recipe_uri = storage.join(place, arm), storage.join(place, f"{arm}.json")
    storage.write_json(recipe_uri, recipe.model_dump(mode="json"))
    if not storage.exists(storage.join(run, "result.json")):
        job("pretrain", "--recipe", recipe_uri, "--corpus", storage.join(place, "corpus"), "--run", run)
    result = storage.read_json(storage.join(run, "result.json"))
    kept = ("prompts", "baselines", "invalid", "counts", "parameters", "timings", "split_fingerprint")
    return {"recipe": {"name": arm}, **{name: result[name] for name in kept}}


if __name__ == "__main__":
    main()
