"""Which objective, readout, negatives, side information and backbone make the best user vector, at equal cost?

    python benchmarks/objectives.py [--ml1m URI] [--tokens 800000] [--runs runs/objectives]

Every combination is trained on the same number of interactions with about the same number of backbone parameters, and
judged twice on each data set: by full-catalogue ranking of the held-out item, and by what a linear model reads about
the user from the frozen vector. Finished cells are kept, so that the study goes on where it stopped. A combination
that cannot be is recorded with its reason. Figures go to benchmarks/results/objectives.json, the page that shows them
to objectives.html.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from objectives_page import write_page

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import DivergedError, UserError
from ray_userrep.evaluation.histories import read_histories, read_train
from ray_userrep.evaluation.profile import measure_attribute, measure_profile, read_attributes, simple_features
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import summary
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.online_retail import online_retail
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit, load_encoder
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

RESULTS = Path(__file__).parent / "results"
WIDTH = 64

BACKBONES: dict[str, dict[str, Any]] = {  # about 98,000 parameters each
    "Transformer": {"kind": "transformer", "num_layers": 2},
    "dilated CNN": {"kind": "cnn", "num_blocks": 4},
    "GRU": {"kind": "gru", "num_layers": 3},
    "mean": {"kind": "mean", "num_layers": 3},
}
HEADS = {"ml-1m": ["category", "hour"], "online_retail": ["price", "hour"]}


class Cell(NamedTuple):
    """One combination on one data set."""

    data: str
    objective: str
    readout: str
    heads: bool
    negatives: str
    backbone: str

    @property
    def key(self) -> str:
        parts = [self.objective, self.readout, "heads" if self.heads else "", self.negatives, self.backbone]
        return "/".join([self.data, "-".join(part.replace(" ", "_") for part in parts if part)])


def cells(data: str) -> Iterator[Cell]:
    """The grid of one data set."""
    for backbone in BACKBONES:
        for negatives in ("all", "sampled"):
            yield Cell(data, "AR", "last", False, negatives, backbone)
            for readout, heads in itertools.product(("cls", "mean", "mask"), (False, True)):
                yield Cell(data, "AE", readout, heads, negatives, backbone)
            for views, readout in itertools.product(("subsequences", "permute"), ("cls", "last")):
                yield Cell(data, f"CL {views}", readout, False, negatives, backbone)


def recipe_of(cell: Cell, tokens: int) -> Recipe:
    """The cell's recipe.

    Raises:
        UserError: the combination is refused.
    """
    contrastive = cell.objective.startswith("CL")
    # Autoencoding and cls look at both sides where the backbone can; the last position must not.
    both_sides = cell.objective == "AE" or cell.readout == "cls"
    causal = {} if cell.backbone == "GRU" else {"causal": not both_sides}
    softmax = {"kind": "full"} if cell.negatives == "all" else {"kind": "sampled", "num_negatives": 512}
    objective: dict[str, Any] = {"kind": "autoregressive", "softmax": softmax}
    if cell.objective == "AE":
        heads = HEADS[cell.data] if cell.heads else []
        objective = {"kind": "autoencoding", "softmax": softmax, "heads": heads}
    if contrastive:
        views = cell.objective.removeprefix("CL ")
        num_negatives = None if cell.negatives == "all" else 16
        objective = {"kind": "contrastive", "views": views, "num_negatives": num_negatives}
    # A contrast needs other users in its batch: the same interactions in fewer, larger steps.
    batch_tokens = 4096 if contrastive else 1024
    raw = online_retail().model_dump() | {"name": cell.key, "objective": objective}
    raw["stream"] |= {"max_len": 64, "batch_tokens": batch_tokens}
    raw["encoder"] |= {
        "width": WIDTH,
        "dropout": 0.1,
        "readout": cell.readout,
        "backbone": BACKBONES[cell.backbone] | causal | {"dropout": 0.1},
    }
    raw["train"] |= {"epochs": 1e6, "max_steps": tokens // batch_tokens, "eval_every": 1e9, "checkpoint_every": 1e9}
    raw["evaluation"] |= {"exclude_seen": cell.data == "ml-1m", "baselines": False}
    return validated(raw)


@ray.remote(num_cpus=1)
def run_cell(cell: Cell, tokens: int, corpus_uri: str, result_uri: str) -> str:
    """Train and measure one cell on one core; its result is written whole or not at all."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        result = train_and_measure(recipe_of(cell, tokens), open_corpus(corpus_uri))
    except DivergedError as error:
        result = {"diverged": str(error)}
    except UserError as error:
        result = {"refused": str(error)}
    storage.write_json(result_uri, {"cell": cell._asdict(), "seconds": time.perf_counter() - began} | result)
    return cell.key


def train_and_measure(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """Ranking and profile metrics of a freshly trained encoder."""
    with tempfile.TemporaryDirectory() as run:
        state = fit(recipe, corpus, run, lambda m: BareEngine(m, recipe.train, torch.device("cpu")), lambda r: None)
        encoder = load_encoder(run)
    return {
        "train_seconds": state.seconds,
        "parameters": encoder.parameters_by_kind(),
        "ranking": ranking(recipe, corpus, encoder),
        "profile": measure_profile(corpus, resolve(recipe.split, corpus), encoder, recipe.evaluation),
    }


def ranking(recipe: Recipe, corpus: Corpus, encoder: UserEncoder) -> dict[str, dict[str, float]]:
    test = read_histories(corpus, resolve(recipe.split, corpus), "test", None, encoder.side_columns)
    found = ranks(encoder_scorer(encoder), test, corpus.manifest.num_items, recipe.evaluation.exclude_seen)
    return summary(found, recipe.evaluation)


def item_counts(corpus: Corpus) -> dict[str, float]:
    """What a linear model reads of each attribute from the users' item counts, by the better of tf-idf and SVD."""
    histories = read_train(corpus, resolve(online_retail().split, corpus), "test")
    features = simple_features(histories, corpus.manifest.num_items, WIDTH)
    attributes = read_attributes(corpus.users(), histories.users_U)
    measured = {attribute.name: measure_attribute(attribute, features, 0.95) for attribute in attributes}
    return {name: max(one["metrics"][x]["auc"]["mean"] for x in features) for name, one in measured.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--ml1m", default="../shared/data/ml-1m/ml-1m")
    arguments.add_argument("--tokens", type=int, default=800_000, help="interactions that each cell is trained on")
    arguments.add_argument("--runs", default="runs/objectives")
    options = arguments.parse_args()
    connect()
    logs = {"ml-1m": options.ml1m, "online_retail": None}
    waiting: dict[Any, Cell] = {}
    counts: dict[str, dict[str, float]] = {}
    for data, uri in logs.items():
        raw = online_retail().model_dump()
        corpus = open_or_prepare(validated(raw | {"logs": raw["logs"] | {"uri": uri}}))
        for cell in cells(data):
            result_uri = storage.absolute(storage.join(options.runs, f"{options.tokens}", f"{cell.key}.json"))
            if not storage.exists(result_uri):
                waiting[run_cell.remote(cell, options.tokens, corpus.uri, result_uri)] = cell
        counts[data] = item_counts(corpus)
    finish(waiting)
    results = [
        storage.read_json(entry.uri)
        for entry in storage.list_files(storage.absolute(storage.join(options.runs, f"{options.tokens}")), ".json")
    ]
    report = {"environment": environment(), "tokens": options.tokens, "width": WIDTH, "item_counts": counts}
    (RESULTS / "objectives.json").write_text(json.dumps(report | {"cells": results}) + "\n")
    write_page()


def finish(waiting: dict[Any, Cell]) -> None:
    """Wait for all cells, saying how many are done and how long the rest will take."""
    began, total, left = time.perf_counter(), len(waiting), list(waiting)
    while left:
        done, left = ray.wait(left)
        seconds = time.perf_counter() - began
        remaining = seconds / (total - len(left)) * len(left)
        print(f"{total - len(left)}/{total}  {ray.get(done[0])}  left {remaining / 60:.0f} min", flush=True)


if __name__ == "__main__":
    main()
