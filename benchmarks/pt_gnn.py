"""PT-GNN: what pretraining, the meta-aggregator and the sampler add for new users of whom three interactions are known.

    python benchmarks/pt_gnn.py --data ../shared/data [--runs runs/pt_gnn] [--only ml-1m] [--rows sage] [--seeds 1]
        [--epochs 5] [--fit-epochs 4] [--interactions 40]

ML-1M, of each user the newest interactions, and Last.fm of HetRec, whose users and artists have five interactions at
least and whose order is drawn by a hash. A fifth of the users test and a tenth validate; nothing of them is trained on.
Each form of the network is pretrained on the others, and then fine-tuned for next items beside the same network from
first weights; the whole catalogue is ranked but for what is known. Simple methods stand beside. Users are dealt out
once, each seed has a pretraining of its own. What is done is only read; numbers go to
benchmarks/results/pt_gnn_LOG.json.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.corpus import draws
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.statistics import estimate, paired
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.recipes.pt_gnn import pt_gnn
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.fit import EngineFactory, fit
from ray_userrep.training.runs import environment
from ray_userrep.transfer.arms.plain import Full, Scratch
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.next_item import NextItemTask, over_items

LOGS = ("ml-1m", "lastfm-hetrec")
ROWS: dict[str, dict[str, Any]] = {
    "sage": {"meta_aggregator": False},
    "sage, meta": {},
    "sage, meta, sampler": {"sampler": "learned"},
    "gat": {"layer": "gat", "meta_aggregator": False},
    "gat, meta": {"layer": "gat"},
    "gat, meta, sampler": {"layer": "gat", "sampler": "learned"},
}
ARMS = {"unpretrained": Scratch, "pretrained": Full}
LEARNING_RATE = 3e-3
MEASURE = "ndcg@10"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/pt_gnn")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--rows", default="", help="forms of the network whose name starts so")
    arguments.add_argument("--seeds", type=int, default=1, help="pretrainings, each with fits of its own")
    arguments.add_argument("--epochs", type=float, default=5.0, help="passes over the log in pretraining")
    arguments.add_argument("--fit-epochs", type=float, default=4.0, help="passes over the log of a fit")
    arguments.add_argument("--interactions", type=int, default=40, help="newest interactions of a user that are kept")
    options = arguments.parse_args()
    for log in (log for log in LOGS if log.startswith(options.only)):
        place = storage.join(storage.absolute(options.runs), f"{log}-{options.interactions}")
        corpus = prepared(Path(storage.absolute(options.data)) / log, place, options.interactions)
        rows = {name: fields for name, fields in ROWS.items() if name.startswith(options.rows)}
        found = measured(corpus, place, rows, options)
        asked = {name: value for name, value in vars(options).items() if name not in ("data", "runs", "only")}
        report = {"environment": environment(False), "options": asked, "found": found}
        (RESULTS / f"pt_gnn_{log}.json").write_text(json.dumps(report, indent=1) + "\n")
        print("\n".join(lines(log, found)))


def prepared(data: Path, place: str, interactions: int) -> Corpus:
    """The corpus of a log."""
    uri = storage.join(place, "corpus")
    if not storage.exists(storage.join(uri, "manifests")):
        options = ["--corpus.k_core.users", "5", "--corpus.k_core.items", "5"]
        log = str(data)
        if data.name == "lastfm-hetrec":
            log, options = in_drawn_order(data, place), [*options, "--logs.order", "row"]
        cut = ("--corpus.max_user_interactions", str(interactions))
        job("prepare", "--logs", log, "--corpus", uri, *options, *cut)
    return open_corpus(uri)


def in_drawn_order(data: Path, place: str) -> str:
    """Last.fm's table behind its two lines of counts, in an order that is drawn by a hash: it has no times."""
    log = pd.read_csv(data / "user_artists.dat.gz", sep="\t", skiprows=2, names=["user_id", "item_id", "plays"])
    log = log.iloc[np.argsort(draws.bits(log["user_id"].to_numpy(), log["item_id"].to_numpy()))]
    uri = storage.join(place, "log.csv")
    storage.write_text(uri, log[["user_id", "item_id"]].to_csv(index=False))
    return uri


def sized(fields: dict[str, Any], seed: int, options: argparse.Namespace) -> Recipe:
    """The recipe with a form of the network."""
    raw = pt_gnn().model_dump() | {"seed": seed}
    raw["encoder"]["backbone"] |= fields
    raw["train"] |= {"epochs": options.epochs, "patience": 3}
    raw["transfer"] |= {"epochs": options.fit_epochs, "patience": 3}
    return Recipe.model_validate(raw)


def measured(
    corpus: Corpus, place: str, rows: dict[str, dict[str, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    """Figures of simple methods, and of every form of the network with and without pretraining."""
    recipe = sized({}, 0, options)
    assert isinstance(recipe.transfer.task, NextItemTaskConfig)
    task = NextItemTask(corpus, (), recipe.transfer.task, AutoregressiveConfig(), recipe.evaluation, "tile")
    simple = {name: figures(task, recipe, [ranks_U]) for name, ranks_U in task.baselines(1.0).items()}
    found: dict[str, Any] = {"test_users": task.num_users("test"), "simple": simple, "rows": {}}
    for name, fields in rows.items():
        ranks = {
            arm: [fitted(corpus, task, place, name, fields, arm, n, options) for n in range(options.seeds)]
            for arm in ARMS
        }
        gain = paired(
            task.measures[MEASURE], task.truth("test"), ranks["pretrained"], ranks["unpretrained"], 1000, 0.95
        )
        of_arms = {arm: figures(task, recipe, ranks_S) for arm, ranks_S in ranks.items()}
        found["rows"][name] = of_arms | {"gain": gain._asdict()}
        print(f"{corpus.uri}: {name} done", flush=True)
    return found


def figures(task: NextItemTask, recipe: Recipe, ranks_S: list[NDArray[Any]]) -> dict[str, Any]:
    """Both measures with their intervals over test users and seeds."""
    settings = recipe.evaluation.num_bootstrap, recipe.evaluation.confidence
    truth_U = task.truth("test")
    return {name: estimate(one, truth_U, ranks_S, *settings)._asdict() for name, one in task.measures.items()}


def fitted(
    corpus: Corpus,
    task: NextItemTask,
    place: str,
    name: str,
    fields: dict[str, Any],
    arm: str,
    seed: int,
    options: argparse.Namespace,
) -> NDArray[Any]:
    """The ranks of the test users' items after fine-tuning."""
    recipe = sized(fields, seed, options)
    own = storage.join(place, f"{name.replace(', ', '-')}-{seed}-{options.epochs:g}")
    if not storage.exists(storage.join(own, "encoder", "config.json")):
        fit(recipe, corpus, own, engine(recipe), lambda record: None)
    encoder, _ = over_items(UserEncoder.from_pretrained(own), corpus.items(), seed)
    spec, uri = FitSpec(1.0, seed, LEARNING_RATE), storage.join(own, f"{arm}-{options.fit_epochs:g}")
    return fit_task(recipe, corpus, encoder, task, ARMS[arm](), spec, uri, engine).predicted_U


def engine(recipe: Recipe) -> EngineFactory:
    return lambda model: BareEngine(model, recipe.train, torch.device("cpu"))


def lines(log: str, found: dict[str, Any]) -> Iterator[str]:
    """A Markdown table of NDCG@10, and of what pretraining adds."""
    yield from (f"| on {log} | unpretrained | pretrained | gain, 95 % interval |", "|---|---|---|---|")
    for name, one in found["simple"].items():
        yield f"| {name} | {one[MEASURE]['mean']:.4f} | | |"
    for name, row in found["rows"].items():
        scratch, full = (row[arm][MEASURE]["mean"] for arm in ARMS)
        gain = row["gain"]
        mean, low, high = (f"{gain[part]:.4f}" for part in ("mean", "low", "high"))
        yield f"| {name} | {scratch:.4f} | {full:.4f} | {mean} ({low} to {high}) |"


if __name__ == "__main__":
    main()
