"""UserBERT (Rakuten): bundles, newest interactions, both, and a profile, on three tasks, beside next-item pretraining.

    python benchmarks/userbert_rakuten.py --data ../shared/data [--runs runs/userbert_rakuten] [--only ml-1m]
        [--epochs 30] [--seeds 3]

Online Retail, cut at two dates: country, return within 28 days, and words of the next product. ML-1M, the last film of
each user held out: occupation, and genres of the next film; who returns is not asked, as half of the users have no real
times. Each row is pretrained anew for each seed, `sasrec` in the same size among them, and taken to each task by the
project's own transfer job: from scratch, frozen, fine-tuned. Simple methods (tf-idf, singular vectors, trees) are
fitted once a task. No row reads an attribute that it is asked about. Jobs that are done are only read. Figures go to
benchmarks/results/userbert_rakuten_LOG.json.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.userbert_rakuten import userbert_rakuten
from ray_userrep.training.runs import environment

MAX_LEN, SHORT, WIDTH = 200, 32, 64
ARMS = ("scratch", "frozen_mlp", "full")
BOTH = "both"


class Study(NamedTuple):
    """A log: how it is split, the slot of a bundle, what is known of users, what is predicted, and the tasks."""

    log: str
    split: dict[str, Any]
    slot: str
    profile: tuple[str, ...]
    objective: dict[str, Any]
    context: tuple[str, ...]
    tasks: dict[str, dict[str, Any]]
    options: tuple[str, ...] = ()


STUDIES = {
    "online-retail": Study(
        "online-retail",
        {"rule": "global_time", "valid_share": 0.05, "test_share": 0.2},
        "week",
        ("country",),
        {"columns": ("text",), "fields": ("price", "hour")},
        ("hour", "month"),
        {
            "country": {"kind": "attribute", "attributes": ("country",)},
            "return": {"kind": "return", "days": 28},
            "next words": {"kind": "next_category", "column": "text"},
        },
    ),
    "ml-1m": Study(
        "ml-1m/ml-1m",
        {"rule": "leave_one_out"},
        "hour",
        ("gender", "age"),
        {"columns": ("category",), "fields": ("event", "hour")},
        ("event", "hour", "month"),
        {
            "occupation": {"kind": "attribute", "attributes": ("occupation",)},
            "next genres": {"kind": "next_category"},
        },
        ("--logs.columns", '{"event": "rating"}'),
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/userbert_rakuten")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--epochs", type=float, default=30.0, help="passes over a log, of pretraining and of fits")
    arguments.add_argument("--seeds", type=int, default=3, help="pretrainings, each with a fit of each arm")
    options = arguments.parse_args()
    place = storage.join(storage.absolute(options.runs), f"{options.epochs:g}")
    asked = {"epochs": options.epochs, "seeds": options.seeds}
    for name, study in STUDIES.items():
        if name.startswith(options.only):
            found = {row: measured(name, row, options.data, place, **asked) for row in rows(study)}
            report = {"environment": environment(False)} | asked | {"rows": found}
            (RESULTS / f"userbert_rakuten_{name}.json").write_text(json.dumps(report, indent=1) + "\n")
            print("\n".join(lines(name, found)))


def rows(study: Study) -> dict[str, dict[str, Any] | None]:
    """What of the encoder each row changes; None for next-item pretraining."""
    return {
        "long only": {"singles": 0},
        "short only": {"singles": SHORT},
        BOTH: {},
        f"{BOTH}, profile": {"profile": study.profile},
        "sasrec": None,
    }


def measured(name: str, row: str, data: str, place: str, epochs: float, seeds: int) -> dict[str, Any]:
    """The figures of a row on each task that it may be asked, a list with an entry a seed."""
    study, found = STUDIES[name], dict[str, Any]()
    for seed in range(seeds):
        own = storage.join(place, name, f"{row.replace(', ', '-').replace(' ', '-')}-{seed}")
        recipe, pretrained = recipe_of(study, row, epochs, seed), storage.join(own, "pretrained")
        common = (*study.options, "--logs", storage.absolute(storage.join(data, study.log)))
        common = (*common, "--corpus", storage.join(place, name, "corpus"))
        run("pretrain", recipe, pretrained, *common)
        for task, asked in study.tasks.items():
            if not {*asked.get("attributes", ())} & {*recipe.encoder.profile}:
                tuned = storage.join(own, task.replace(" ", "-"))
                run("transfer", with_task(recipe, asked, row), tuned, "--transfer.encoder", pretrained, *common)
                (result,) = storage.read_json(storage.join(tuned, "result.json"))["tasks"].values()
                found.setdefault(task, []).append(result)
    return found


def run(name: str, recipe: Recipe, uri: str, *options: str) -> None:
    """A job of the project, unless it is done."""
    if not storage.exists(storage.join(uri, "result.json")):
        storage.write_json(f"{uri}.json", recipe.model_dump(mode="json"))
        job(name, "--recipe", f"{uri}.json", "--run", uri, *options)


def recipe_of(study: Study, row: str, epochs: float, seed: int) -> Recipe:
    """The recipe of a row for a log, all in one size."""
    changed = rows(study)[row]
    raw: dict[str, Any] = (sasrec() if changed is None else userbert_rakuten()).model_dump()
    raw |= {"seed": seed, "split": study.split}
    raw["stream"] |= {"max_len": SHORT if row == "short only" else MAX_LEN, "batch_tokens": 4096}
    if changed is None:
        raw["encoder"] |= {"width": WIDTH}
    else:
        raw["encoder"] |= {"width": WIDTH, "bundle": study.slot, "context": study.context, **changed}
        raw["objective"] |= study.objective
    raw["train"] |= {"epochs": epochs, "patience": 5, "cpus_per_worker": 1}
    raw["evaluation"] |= {"baselines": False}
    return Recipe.model_validate(raw)


def with_task(recipe: Recipe, asked: dict[str, Any], row: str) -> Recipe:
    """The recipe of a transfer to a task; simple methods are the same for all rows and seeds."""
    raw: dict[str, Any] = recipe.model_dump()
    raw["transfer"] |= {
        "task": asked, "arms": ARMS, "epochs": recipe.train.epochs, "num_seeds": 1,
        "readouts": ("own", "whole"), "keep": None,
    }  # fmt: skip
    raw["evaluation"] |= {"baselines": row == BOTH and recipe.seed == 0}
    return Recipe.model_validate(raw)


def lines(name: str, by_row: dict[str, Any]) -> Iterator[str]:
    """A Markdown table: of each row means over seeds at all labels, and the best simple method of each task."""
    yield from (f"| task on {name} | pretrained | " + " | ".join(ARMS) + " |", "|---" * (2 + len(ARMS)) + "|")
    for task in STUDIES[name].tasks:
        for row, found in by_row.items():
            if task in found:
                figures = [f"{np.mean([figure(one, arm) for one in found[task]]):.4f}" for arm in ARMS]
                yield f"| {task} | {row} | {' | '.join(figures)} |"
        first = by_row[BOTH][task][0]
        best = max(first["shares"]["1"]["baselines"], key=lambda system: figure(first, system))
        yield f"| {task} | *{best}* | {figure(first, best):.4f} | | |"


def figure(result: dict[str, Any], system: str) -> float:
    """The headline of a system at all labels."""
    return float(result["shares"]["1"]["metrics"][system][result["headline"]]["mean"])


if __name__ == "__main__":
    main()
