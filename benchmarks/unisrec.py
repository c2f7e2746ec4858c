"""UniSRec: pretrained on the texts of several domains, then another domain's next items, with texts alone or ids too.

    python benchmarks/unisrec.py --data ../shared/data [--runs runs/unisrec] [--only scientific]

Pretraining: titles of Amazon Video Games, Amazon Beauty and MovieLens, by the packaged text encoder. Targets: Amazon
Scientific in three seeds at tuned rates, and Online Retail with invoices as users in one; leave-one-out, full ranking,
from scratch beside inductive and transductive fine-tuning, and ids with nothing pretrained. It is smaller than the
original: width 128 and four whitenings, one version of each text, six passes over .5 M interactions of 14 M there.
"""

import argparse
from typing import Any

from running import job, keep
from text_domains import write_log

from ray_userrep import storage
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.unisrec import unisrec

SOURCES = {"games": "amazon-2018-Games/Games-6k", "beauty": "amazon-2014-Beauty", "movies": "ml-latest-small"}
TARGETS = {
    "scientific": ("amazon-2018-Scientific/Scientific", ("--transfer.learning_rates", "[0.001, 0.003]")),
    "invoices": (
        "online-retail",
        ("--logs.columns", '{"user_id": "InvoiceNo"}', "--corpus.k_core.users", "5", "--corpus.k_core.items", "5",
         "--transfer.learning_rates", "[0.003]", "--transfer.epochs", "6", "--transfer.patience", "2",
         "--transfer.batch_tokens", "8192", "--transfer.num_seeds", "1"),
    ),  # nine times the interactions: one seed, fewer passes, the rate that Scientific prefers for texts
}  # fmt: skip
ARMS = ("scratch", "unisrec_inductive", "unisrec_transductive", "unisrec_zero")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="targets whose name starts so")
    arguments.add_argument("--runs", default="runs/unisrec")
    options = arguments.parse_args()
    runs = storage.absolute(options.runs)
    pretrained = storage.join(runs, "pretrained")
    if not storage.exists(storage.join(pretrained, "result.json")):
        pretrain(options.data, runs, pretrained)
    for name in TARGETS:
        if name.startswith(options.only):
            transfer(name, options.data, runs, pretrained)


def pretrain(data: str, runs: str, pretrained: str) -> None:
    """The joined log, and an encoder of it."""
    connect()
    log = storage.join(runs, "log")
    write_log({name: storage.absolute(storage.join(data, at)) for name, at in SOURCES.items()}, log, f"{runs}/domains")
    recipe = storage.join(runs, "recipe.json")
    storage.write_json(recipe, smaller().model_dump(mode="json"))
    job("pretrain", "--recipe", recipe, "--logs", log, "--corpus", storage.join(runs, "corpus"), "--run", pretrained)


def smaller() -> Recipe:
    """The recipe in a size for two cores."""
    raw: dict[str, Any] = unisrec().model_dump()
    raw["text"] |= {"word_drop": 0.0, "max_tokens": 64}
    raw["stream"]["batch_tokens"] = 2048
    raw["encoder"] |= {"width": 128, "dropout": 0.2}
    raw["encoder"]["items"]["num_experts"] = 4
    raw["encoder"]["backbone"] |= {"dropout": 0.2, "ffn_mult": 2.0}
    raw["objective"]["parts"][1]["objective"]["reword"] = 0.0
    raw["train"] |= {"epochs": 6, "patience": None, "cpus_per_worker": 1}
    raw["evaluation"] |= {"baselines": False, "max_users": 5000}  # of pretraining, whose ranking is looked at only
    return Recipe.model_validate(raw)


def transfer(name: str, data: str, runs: str, pretrained: str) -> None:
    """Fine-tuning on one target, by the full softmax over cosines."""
    at, options = TARGETS[name]
    recipe, place = storage.join(runs, f"{name}.json"), storage.join(runs, name)
    storage.write_json(recipe, fine_tuning().model_dump(mode="json"))
    if not storage.exists(storage.join(place, "result.json")):
        job(
            "transfer", "--recipe", recipe, "--logs", storage.absolute(storage.join(data, at)), *options,
            "--corpus", storage.join(runs, "corpora", name), "--run", place, "--transfer.encoder", pretrained,
        )  # fmt: skip
    keep(f"transfer_unisrec_{name}", place, {}, {runs: "runs", data: "data"})


def fine_tuning() -> Recipe:
    """The same encoder under next items alone."""
    raw = smaller().model_dump()
    raw["objective"] = {"kind": "autoregressive", "softmax": {"kind": "full", "temperature": 0.07}}
    raw["transfer"] |= {
        "task": {"kind": "next_item"}, "epochs": 30, "patience": 4, "batch_tokens": 2048, "arms": ARMS,
    }  # fmt: skip
    raw["evaluation"] |= {"baselines": True, "max_users": None}
    return Recipe.model_validate(raw)


if __name__ == "__main__":
    main()
