"""The cases that all systems are given: a log's interactions and a loss, with one width, depth, dropout and batch.

All train on the same interactions (leave-one-out, each user's newest window, every position a target), which are
written once. Learning rates are constant.
"""

import argparse
import itertools
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from peers.environments import REQUIREMENTS, python_of
from peers.runs import BARE, Case, Runner

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_histories, read_train
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

HERE = Path(__file__).parents[1]
PLACES = ("environments", "results")  # of this machine, and not part of a result
SHAPE = {"width": 64, "layers": 2, "heads": 2}
COPIED = (
    *("seed", "warmup_seconds", "batch_users", "negatives"),
    *("dropout", "attention_dropout", "learning_rate", "evaluated_users"),
)


class Source(NamedTuple):
    """A log, its layout and the length of the windows that the field uses on it."""

    uri: str
    reader: str
    length: int


SOURCES = {
    "beauty": Source("../shared/data/amazon-2014-Beauty/data/Beauty.txt.gz", "s3rec", 50),
    "ml1m": Source("../shared/data/ml-1m/ml-1m", "movielens", 200),
}


def shared_arguments(description: str) -> argparse.ArgumentParser:
    """What is asked whatever is measured."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    for name, source in SOURCES.items():
        parser.add_argument(f"--{name}", default=source.uri, metavar="URI")
        parser.add_argument(f"--{name}-reader", default=source.reader, metavar="NAME")
        parser.add_argument(f"--{name}-length", type=int, default=source.length)
    parser.add_argument("--losses", nargs="+", choices=("full", "sampled"), default=["full", "sampled"])
    parser.add_argument("--systems", nargs="+", choices=(BARE, *REQUIREMENTS), default=[BARE, *REQUIREMENTS])
    parser.add_argument("--batch-users", type=int, default=128, help="users of an optimiser step, on average in ours")
    parser.add_argument("--negatives", type=int, default=128, help="of a target in sampled softmax")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--attention-dropout", type=float, default=0.2, help="of the peers' attention; ours has none")
    parser.add_argument("--memory-gib", type=float, default=available_gib(), help="bound of a process")
    parser.add_argument("--environments", type=Path, default=HERE / ".environments", metavar="DIR")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    return parser


def head(options: argparse.Namespace) -> dict[str, Any]:
    """What a result says before its figures."""
    return {
        "environment": environment(),
        "load": os.getloadavg()[0],
        "options": {name: value for name, value in vars(options).items() if name not in PLACES},
        "peers": {peer: REQUIREMENTS[peer] for peer in options.systems if peer != BARE},
    }


def prepared(options: argparse.Namespace, scratch: Path) -> tuple[list[Case], Runner]:
    """All cases, and what runs the systems on them."""
    cases = [case for name in options.data for case in cases_of(name, options, scratch)]
    ray.shutdown()  # it would work beside what is timed
    pythons = {peer: python_of(peer, options.environments) for peer in options.systems if peer != BARE}
    return cases, Runner(pythons, scratch)


def available_gib() -> float:
    """Nine tenths of the memory that is free now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return round(0.9 * kib / 2**20, 1)


def cases_of(name: str, options: argparse.Namespace, scratch: Path) -> list[Case]:
    """A data set's cases, one a loss and number of threads; the interactions that all systems get are written once."""
    connect()
    corpus = open_or_prepare(ours(name, "full", options, batch_targets=0))
    length = getattr(options, f"{name}_length")
    data = scratch / f"{name}.npz"
    num_targets, num_users = write_data(corpus, length, data)
    batch_targets = round(options.batch_users * num_targets / num_users)
    job = {key: getattr(options, key) for key in COPIED} | SHAPE
    job |= {
        "data": str(data),
        "corpus": corpus.uri,
        "length": length,
        "batch_targets": batch_targets,
        "memory_bytes": int(options.memory_gib * 2**30),
        "seconds": options.seconds,
        "evaluate_every": options.evaluate_every and round(options.evaluate_every * num_targets),
        "patience": options.patience,
        "measure": "train",
    }
    cases = []
    for loss, threads in itertools.product(options.losses, options.threads):
        recipe = ours(name, loss, options, batch_targets)
        own = {"loss": loss, "threads": threads, "cores": list(range(threads)), "recipe": recipe.model_dump_json()}
        told = f"{name}, {loss} softmax, {threads} thread{'s' * (threads > 1)}"
        cases.append(Case(told, name, recipe, job | own))
    return cases


def ours(name: str, loss: str, options: argparse.Namespace, batch_targets: int) -> Recipe:
    """Our SASRec with what the peers have: their windows, feed-forward, batch, and a constant learning rate."""
    raw, length, never = sasrec().model_dump(), getattr(options, f"{name}_length"), 1e9
    raw["seed"] = options.seed
    raw["logs"] |= {"uri": getattr(options, name), "reader": getattr(options, f"{name}_reader")}
    raw["stream"] |= {"max_len": length, "windows": "last", "batch_tokens": max(batch_targets, length)}
    raw["encoder"] |= {"width": SHAPE["width"], "dropout": options.dropout}
    layers = {"num_layers": SHAPE["layers"], "num_heads": SHAPE["heads"], "ffn_mult": 1.0, "dropout": options.dropout}
    raw["encoder"]["backbone"] |= layers
    sampled = {"kind": "sampled", "num_negatives": options.negatives}
    raw["objective"]["softmax"] = sampled if loss == "sampled" else {"kind": "full"}
    if loss == "sampled":
        raw["encoder"]["items"] = {"kind": "rows"}  # only the drawn rows are updated
    raw["train"] |= {"learning_rate": options.our_learning_rate, "epochs": 1e6, "patience": None}
    raw["train"] |= {"eval_every": never, "checkpoint_every": never}
    raw["train"]["schedule"] |= {"kind": "constant", "warmup_share": 0.0}
    return validated(raw)


def write_data(corpus: Corpus, length: int, path: Path) -> tuple[int, int]:
    """Histories and next items of all users, for every system; how many targets and users an epoch has.

    Raises:
        UserError: a user has too few interactions for one to be held out.
    """
    split = resolve(sasrec().split, corpus)
    known = read_histories(corpus, split, "valid", None)
    if known.num_users < read_train(corpus, split, "valid").num_users:
        raise UserError("some users have fewer than three interactions: the systems would not train on the same ones")
    columns = {"items_N": known.items_N, "offsets_U1": known.offsets_U1, "targets_U": known.targets_U}
    np.savez(path, num_items=corpus.manifest.num_items, **columns)
    targets_U = np.minimum(known.lengths_U - 1, length)
    return int(targets_U.sum()), int((targets_U > 0).sum())
