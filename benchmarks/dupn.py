"""DUPN: gates that properties drive against a plain LSTM of equal size, and a held-out task, frozen, full and scratch.

    python benchmarks/dupn.py --data ../shared/data [--runs runs/dupn] [--only ml-1m] [--epochs 20] [--seeds 3]

Online Retail: next item, price, gap and hour are pretrained on together, the country is held out. ML-1M: next item,
genre, rating, gap, gender and age, with the labels of test users hidden; the occupation is held out; of each user the
newest 50 interactions. Each is pretrained anew for each seed by the project's own transfer job, once with each LSTM;
runs that are done are only read. Figures go to benchmarks/results/dupn_LOG.json.
"""

import argparse
import json
from typing import Any, NamedTuple

import numpy as np
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.planner.accounting import backbone_parameters
from ray_userrep.recipe.encoder import IdItemsConfig, LSTMConfig, SideItemsConfig, SumItemsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.dupn import dupn
from ray_userrep.training.runs import environment, read_records

LSTMS = {"gates": LSTMConfig(context="gates"), "plain": LSTMConfig(hidden=78)}
HEADLINE = "ndcg@10"


class Study(NamedTuple):
    """A log, the attribute of its users that is held out, and how recipe and reading differ for it."""

    log: str
    held_out: str
    recipe: dict[str, Any]
    options: tuple[str, ...] = ()


MOVIES = {
    "items": SumItemsConfig(parts=[IdItemsConfig(), SideItemsConfig()]).model_dump(),
    "context": ("event", "gap", "hour"),
}
TASKS = [
    {"weight": 1.0, "objective": {"kind": "autoregressive"}},
    {"weight": 1.0, "objective": {"kind": "next_fields", "fields": ("category", "event", "gap")}},
    {"weight": 1.0, "objective": {"kind": "labels", "attributes": ("gender", "age")}},
]
STUDIES = {
    "online-retail": Study("online-retail", "country", {}),
    "ml-1m": Study(
        "ml-1m/ml-1m",
        "occupation",
        {
            "encoder": MOVIES,
            "objective": {"kind": "weighted", "parts": TASKS},
            "corpus": {"max_user_interactions": 50},
        },
        ("--logs.columns", '{"event": "rating"}'),
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/dupn")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--epochs", type=float, default=20.0, help="passes over a log, of pretraining and of fits")
    arguments.add_argument("--seeds", type=int, default=3, help="pretrainings, and fits of each arm")
    options = arguments.parse_args()
    runs = storage.absolute(options.runs)
    asked = {"epochs": options.epochs, "seeds": options.seeds}
    for name in STUDIES:
        if name.startswith(options.only):
            found = {lstm: measured(name, lstm, options.data, runs, **asked) for lstm in LSTMS}
            report = {"environment": environment(False)} | asked | {"lstms": found}
            (RESULTS / f"dupn_{name}.json").write_text(json.dumps(report, indent=1) + "\n")
            print(printed(name, found))


def measured(name: str, lstm: str, data: str, runs: str, epochs: float, seeds: int) -> dict[str, Any]:
    """What one LSTM reaches on a log: next items, each task's training loss at the end, and the held-out task."""
    study, run = STUDIES[name], storage.join(runs, f"{name}-{lstm}")
    recipe = recipe_of(study, LSTMS[lstm], epochs, seeds)
    if not storage.exists(storage.join(run, "result.json")):
        storage.write_json(storage.join(runs, f"{name}-{lstm}.json"), recipe.model_dump(mode="json"))
        job(
            "transfer", "--recipe", storage.join(runs, f"{name}-{lstm}.json"), *study.options, "--run", run,
            "--logs", storage.absolute(storage.join(data, study.log)), "--corpus", storage.join(runs, f"corpus-{name}"),
        )  # fmt: skip
    pretrained = [storage.join(run, f"pretrain-{seed}" if seed else "pretrain") for seed in range(seeds)]
    results = [storage.read_json(storage.join(one, "result.json")) for one in pretrained]
    return {
        "backbone_parameters": backbone_parameters(
            recipe.encoder.backbone, recipe.encoder.width, recipe.stream.max_len
        ),
        "next_item": [one["metrics"][HEADLINE]["mean"] for one in results],
        "training_losses": [last_losses(one) for one in pretrained],
        "held_out": storage.read_json(storage.join(run, "result.json"))["tasks"][study.held_out],
    }


def recipe_of(study: Study, lstm: LSTMConfig, epochs: float, seeds: int) -> Recipe:
    """The recipe with one LSTM, for a log's own tasks."""
    raw = dupn().model_dump()
    raw["corpus"] |= study.recipe.get("corpus", {})
    raw["encoder"] |= study.recipe.get("encoder", {}) | {"backbone": lstm.model_dump()}
    raw["objective"] = study.recipe.get("objective", raw["objective"])
    raw["train"] |= {"epochs": epochs, "cpus_per_worker": 1}
    raw["transfer"] |= {
        "task": {"kind": "attribute", "attributes": (study.held_out,)}, "label_shares": (0.1, 1.0), "epochs": epochs,
        "num_seeds": seeds, "pretrain_seeds": seeds, "keep": None,
    }  # fmt: skip
    return Recipe.model_validate(raw)


def last_losses(run: str) -> dict[str, float]:
    """The mean loss of each task over the last record of training."""
    *_, last = (record for record in read_records(run) if record["kind"] == "train")
    return {name.removeprefix("loss_"): value for name, value in last.items() if name.startswith("loss_")}


def printed(name: str, found: dict[str, Any]) -> str:
    """A Markdown table of means over seeds."""
    held_out = STUDIES[name].held_out
    lines = [f"| LSTM on {name} | next item | {held_out} from scratch | frozen | full |", "|---" * 5 + "|"]
    for lstm, of_lstm in found.items():
        metrics = of_lstm["held_out"]["shares"]["1"]["metrics"]
        arms = [metrics[arm][of_lstm["held_out"]["headline"]]["mean"] for arm in ("scratch", "frozen_mlp", "full")]
        figures = (f"{figure:.4f}".removeprefix("0") for figure in (np.mean(of_lstm["next_item"]), *arms))
        lines.append(f"| {lstm} | {' | '.join(figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
