"""The recipes on the field's data sets, beside published figures: leave-one-out, the whole catalogue ranked, 3 seeds.

    python benchmarks/accuracy.py --data ../shared/data [--only ml-1m/hstu] [--seeds 3] [--runs runs/accuracy]

Each cell (data, recipe, seed) is trained in the bare loop on `--threads` threads. Finished cells are kept, so that the
study goes on where it stopped; several of these may run side by side with different `--only`. NDCG@10 of each user is
averaged over seeds before users are resampled. The table goes to benchmarks/results/accuracy.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
import torch

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, newest_version, open_corpus
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.metrics import hit_rate, ndcg
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.evaluation.statistics import mean_interval
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.esasrec import esasrec
from ray_userrep.recipes.hstu import hstu
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import fit, load_encoder
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

RESULTS = Path(__file__).parent / "results"


class Study(NamedTuple):
    """A recipe on a data set, and the best published NDCG@10 of the same protocol."""

    data: str
    logs: str
    recipe: Callable[[], Recipe]
    published: float
    published_as: str

    @property
    def key(self) -> str:
        return f"{self.data}/{self.recipe.__name__}"


def amazon() -> Recipe:
    """`sasrec` for short, sparse histories: categories beside ids, wider, much more dropout, sampled softmax."""
    raw = sasrec().model_dump()
    raw["stream"]["max_len"] = 50
    raw["encoder"] |= {
        "width": 256,
        "dropout": 0.5,
        "items": {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "side"}]},
    }
    raw["encoder"]["backbone"]["dropout"] = 0.5
    raw["objective"]["softmax"] = {"kind": "sampled", "num_negatives": 1024, "sampler": "mixed", "alpha": 0.0}
    raw["train"] |= {"epochs": 32, "learning_rate": 2e-3, "patience": 4}
    return validated(raw)


def amazon_whole() -> Recipe:
    """The same for fewer epochs, to their end: on the largest log patience gave up before the rate was low."""
    raw = amazon().model_dump()
    raw["train"] |= {"epochs": 24, "patience": None}
    return validated(raw)


STUDIES = [
    Study("ml-1m", "ml-1m/ml-1m", sasrec, 0.1603, "SASRec, 128 negatives"),
    Study("ml-1m", "ml-1m/ml-1m", esasrec, 0.1772, "eSASRec"),
    Study("ml-1m", "ml-1m/ml-1m", hstu, 0.1880, "HSTU"),
    Study("beauty", "amazon-2014-Beauty", amazon, 0.0531, "SASRec, sampled softmax"),
    Study("sports", "amazon-2014-Sports_and_Outdoors", amazon_whole, 0.0314, "SASRec, sampled softmax"),
    Study("toys", "amazon-2014-Toys_and_Games", amazon, 0.0580, "SASRec, sampled softmax"),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="studies whose name starts so")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--runs", default="runs/accuracy")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    for seed in range(options.seeds):
        for study in STUDIES:
            result_uri = cell_uri(options.runs, study, seed)
            if study.key.startswith(options.only) and not storage.exists(result_uri):
                corpus = corpus_of(study, options.data, options.runs)
                storage.write_json(result_uri, train_and_measure(study, seed, corpus))
    write_results(options.runs)


def cell_uri(runs: str, study: Study, seed: int) -> str:
    return storage.absolute(storage.join(runs, "cells", study.key, f"{seed}.json"))


def corpus_of(study: Study, data: str, runs: str) -> Corpus:
    """The study's corpus, prepared the first time."""
    uri = storage.absolute(storage.join(runs, "corpora", study.data))
    if newest_version(uri) is not None:
        return open_corpus(uri)
    connect()
    raw = study.recipe().model_dump()
    raw["logs"]["uri"], raw["corpus"]["uri"] = storage.absolute(storage.join(data, study.logs)), uri
    corpus = open_or_prepare(validated(raw))
    ray.shutdown()  # it would work beside what is trained
    return corpus


def train_and_measure(study: Study, seed: int, corpus: Corpus) -> dict[str, Any]:
    """One cell: what was trained, how long, and each test user's NDCG@10."""
    recipe, began = validated(study.recipe().model_dump() | {"seed": seed}), time.perf_counter()

    def tell(record: dict[str, Any]) -> None:
        if record["kind"] == "validation":
            print(f"{study.key} seed {seed}  step {record['step']}  validation {record['ndcg@10']:.4f}", flush=True)

    with tempfile.TemporaryDirectory() as run:
        state = fit(recipe, corpus, run, lambda m: BareEngine(m, recipe.train, torch.device("cpu")), tell)
        encoder = load_encoder(run)
    split = resolve(recipe.split, corpus)
    test = read_histories(corpus, split, "test", None, encoder.side_columns)
    found = ranks(encoder_scorer(encoder), test, corpus.manifest.num_items, recipe.evaluation.exclude_seen)
    result = {
        "recipe": recipe.model_dump(mode="json"),
        "environment": environment(),
        "split_fingerprint": split.fingerprint(corpus.manifest, recipe.evaluation.exclude_seen),
        "parameters": encoder.parameters_by_kind(),
        "train_seconds": state.seconds,
        "seconds": time.perf_counter() - began,
        "hr@10": float(hit_rate(found, 10).mean()),
        "ndcg@10": ndcg(found, 10).tolist(),
    }
    print(f"{study.key} seed {seed}  test {np.mean(result['ndcg@10']):.4f}  {result['seconds']:.0f} s", flush=True)
    return result


def write_results(runs: str) -> None:
    """All finished cells as a table, on the terminal and in JSON."""
    rows = []
    for study in STUDIES:
        folder = storage.absolute(storage.join(runs, "cells", study.key))
        if storage.exists(folder):
            cells = [storage.read_json(entry.uri) for entry in storage.list_files(folder)]
            rows.append(row(study, cells))
            told = {name: round(rows[-1][name], 4) for name in ("hr@10", "ndcg@10", "low", "high", "published")}
            print(f"{study.key:18s} {len(cells)} seeds  {told}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "accuracy.json").write_text(json.dumps(rows, indent=2) + "\n")


def row(study: Study, cells: list[dict[str, Any]]) -> dict[str, Any]:
    config = study.recipe().evaluation
    ndcg_SU = np.array([cell["ndcg@10"] for cell in cells])
    mean, low, high = mean_interval(ndcg_SU.mean(0), config.num_bootstrap, config.confidence)
    return {
        "study": study.key,
        "published": study.published,
        "published_as": study.published_as,
        "hr@10": float(np.mean([cell["hr@10"] for cell in cells])),
        "ndcg@10": mean,
        "low": low,
        "high": high,
        "seeds": ndcg_SU.mean(1).tolist(),
        "seconds": [cell["seconds"] for cell in cells],
        "parameters": cells[0]["parameters"],
        "environment": cells[0]["environment"],
        "recipe": cells[0]["recipe"],
    }


if __name__ == "__main__":
    main()
