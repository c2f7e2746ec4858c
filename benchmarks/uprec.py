"""UPRec with one loss left out at a time: what do attributes and friends add to next items, after fine-tuning?

    python benchmarks/uprec.py --data ../shared/data [--runs runs/uprec] [--only ciao] [--epochs 10] [--seeds 1]

Pretrained on two logs with relations of users and without times: HERec's cut of Yelp (friends, compliments as
attributes) and Ciao (trust; nothing is known of users, so that two losses are left). Users and items have five
interactions at least; a user's order is drawn by a hash. Each pretraining is fine-tuned for the next item, and the same
encoder once from scratch: leave-one-out, the whole catalogue is ranked. Hidden items that are left out keep a weight of
1e-9, so that the encoder has a vector for them in every row; with Adam's epsilon that trains nothing. Finished jobs are
found again; numbers go to benchmarks/results/uprec_LOG.json.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.uprec import uprec
from ray_userrep.training.runs import environment

HIDDEN, ATTRIBUTES, SOCIAL = "autoencoding", "labels", "social"
LOGS = {"yelp-hin": (HIDDEN, ATTRIBUTES, SOCIAL), "ciao": (HIDDEN, SOCIAL)}
LEFT_OUT = 1e-9
ALL = "all"
FINE_TUNED = (
    "--transfer.task.kind", "next_item", "--objective.kind", "autoencoding", "--objective.last_rate", "1",
    "--objective.predict_from", "readout", "--transfer.learning_rates", "[0.001, 0.003]",
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/uprec")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--epochs", type=float, default=10.0, help="passes over the log, in both trainings")
    arguments.add_argument("--seeds", type=int, default=1, help="pretrainings, each with a fine-tuning of its own")
    options = arguments.parse_args()
    for log in LOGS:
        if log.startswith(options.only):
            data = storage.absolute(storage.join(options.data, log))
            place = storage.join(storage.absolute(options.runs), f"{log}-{options.epochs:g}")
            found = {
                row: [measured(data, place, row, parts, options.epochs, seed) for seed in range(options.seeds)]
                for row, parts in rows(log)
            }
            report = {"environment": environment(False), "epochs": options.epochs, "losses": found}
            (RESULTS / f"uprec_{log}.json").write_text(json.dumps(report, indent=1) + "\n")
            print("\n".join(lines(log, found)))


def rows(log: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The losses of each pretraining, by name: all, and all but one."""
    losses = LOGS[log]
    yield ALL, losses
    for left_out in losses:
        yield f"without {left_out}", tuple(loss for loss in losses if loss != left_out)


def sized(parts: tuple[str, ...], epochs: float, seed: int) -> Recipe:
    """The recipe with some of the losses that a log allows, in a size for one core."""
    raw: dict[str, Any] = uprec().model_dump()
    raw |= {"seed": seed}
    by_kind = {part["objective"]["kind"]: part for part in raw["objective"]["parts"]}
    weights = {HIDDEN: LEFT_OUT} | dict.fromkeys(parts, 1.0)
    losses = [by_kind[kind] | {"weight": weight} for kind, weight in weights.items()]
    raw["objective"] = losses[0]["objective"] if len(losses) == 1 else {"kind": "weighted", "parts": losses}
    raw["stream"] |= {"batch_tokens": 2048}
    raw["corpus"]["k_core"] = {"users": 5, "items": 5}
    raw["train"] |= {"epochs": epochs, "patience": 3, "learning_rate": 3e-3, "cpus_per_worker": 1}
    raw["transfer"] |= {"epochs": epochs, "patience": 3, "num_seeds": 1}
    raw["evaluation"] |= {"baselines": False, "max_users": 5000}
    return Recipe.model_validate(raw)


def measured(data: str, place: str, row: str, parts: tuple[str, ...], epochs: float, seed: int) -> dict[str, Any]:
    """The figures of one pretraining after fine-tuning; beside all losses also of the same encoder from scratch."""
    own = storage.join(place, f"{row.replace(' ', '-')}-{seed}")
    recipe, pretrained, tuned = (storage.join(own, name) for name in ("recipe.json", "pretrained", "tuned"))
    arms = ("scratch", "full") if row == ALL else ("full",)
    storage.write_json(recipe, sized(parts, epochs, seed).model_dump(mode="json"))
    common = ("--recipe", recipe, "--logs", data, "--corpus", storage.join(place, "corpus"))
    if not storage.exists(storage.join(pretrained, "result.json")):
        job("pretrain", *common, "--run", pretrained)
    if not storage.exists(storage.join(tuned, "result.json")):
        asked = ("--transfer.encoder", pretrained, "--transfer.arms", json.dumps(arms), *FINE_TUNED)
        job("transfer", *common, "--run", tuned, *asked, "--evaluation.baselines", json.dumps(row == ALL and seed == 0))
    return dict(storage.read_json(storage.join(tuned, "result.json"))["tasks"])


def lines(log: str, found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """A Markdown table of means over seeds, with the simple methods below."""
    yield from (f"| losses on {log} | NDCG@10 of the next item |", "|---|---|")
    by_row = {row: [task["shares"]["1"] for tasks in seeds for task in tasks.values()] for row, seeds in found.items()}
    yield f"| none: from scratch | {mean(by_row[ALL], 'scratch')} |"
    for row, seeds in by_row.items():
        yield f"| {row} | {mean(seeds, 'full')} |"
    for system in by_row[ALL][0]["baselines"]:
        yield f"| *{system}* | {mean(by_row[ALL][:1], system)} |"


def mean(seeds: list[dict[str, Any]], system: str) -> str:
    """The mean over seeds of what a system reaches."""
    return f"{sum(one['metrics'][system]['ndcg@10']['mean'] for one in seeds) / len(seeds):.4f}"


if __name__ == "__main__":
    main()
