"""PTUPCDR and simpler ways to say what new users of a second domain will think of its items, on books and music.

    python benchmarks/ptupcdr.py --data ../shared/data [--runs runs/ptupcdr] [--only book] [--seeds 5] [--epochs 30]

The two logs of Douban share 1,566 users and have ratings without times. Both directions; a fifth, a half and four
fifths of the shared users as test; each seed deals the users anew and has an encoder of its own. Bridges start from
factors of the ratings (`emcdr`, `ptupcdr`) or from the encoder; beside them stand means of ratings. The form of the
authors' code is run once, with the first seed's test users, and labelled legacy. Finished jobs are found again; numbers
go to benchmarks/results/ptupcdr.json.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any

from ptupcdr_legacy import legacy
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.recipe.transfer import CrossDomainTaskConfig
from ray_userrep.recipes.ptupcdr import ptupcdr
from ray_userrep.training.runs import environment
from ray_userrep.transfer.tasks.cross_domain import read_cross_domain

DIRECTIONS = (("book", "music"), ("music", "book"))
SHARES = (0.2, 0.5, 0.8)
MEASURES = ("mae", "rmse", "ndcg@10")
READING = (
    "--logs.order", "row", "--logs.columns", json.dumps({"user_id": "0", "item_id": "1", "rating": "2"}),
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/ptupcdr")
    arguments.add_argument("--only", default="", help="source domains whose name starts so")
    arguments.add_argument("--epochs", type=float, default=30.0, help="passes over the log, and of each fit")
    arguments.add_argument(
        "--seeds", type=int, default=5, help="deals of the users, each with a pretraining of its own"
    )
    options = arguments.parse_args()
    runs, found = storage.absolute(options.runs), {}
    for domain in ("book", "music"):
        prepare(storage.absolute(storage.join(options.data, "douban-book-music")), runs, domain)
    for source, target in DIRECTIONS:
        if source.startswith(options.only):
            found[f"{source} to {target}"] = {
                f"{share:g}": {
                    "legacy": measured_legacy(runs, source, target, share),
                    "seeds": [measured(runs, source, target, share, n, options.epochs) for n in range(options.seeds)],
                }
                for share in SHARES
            }
    RESULTS.mkdir(exist_ok=True)
    report = {"environment": environment(), "epochs": options.epochs, "directions": found}
    (RESULTS / "ptupcdr.json").write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(lines(found)))


def corpus_uri(runs: str, domain: str) -> str:
    return storage.join(runs, "corpora", domain)


def prepare(data: str, runs: str, domain: str) -> None:
    """A domain as a corpus of its own."""
    if not storage.exists(storage.join(corpus_uri(runs, domain), "manifests")):
        log = storage.join(data, f"douban_{domain}.dat.gz")
        job("prepare", "--logs", log, "--corpus", corpus_uri(runs, domain), *READING)


def measured(runs: str, source: str, target: str, share: float, seed: int, epochs: float) -> dict[str, Any]:
    """The figures of one deal of the users; the pretraining of a seed is the same at all shares."""
    own = storage.join(runs, f"{source}-{target}")
    pretrained, place = (storage.join(own, f"{name}-{epochs:g}-{seed}") for name in ("pretrained", f"share-{share:g}"))
    common = ("--recipe", "ptupcdr", "--corpus", corpus_uri(runs, source), "--seed", str(seed))
    common = (*common, "--train.cpus_per_worker", "1")
    if not storage.exists(storage.join(pretrained, "result.json")):
        job("pretrain", *common, "--run", pretrained, "--train.epochs", f"{epochs:g}")
    if not storage.exists(storage.join(place, "result.json")):
        asked = ("--transfer.task.test_share", f"{share:g}", "--transfer.task.seed", str(seed))
        fits = ("--transfer.num_seeds", "1", "--transfer.epochs", f"{epochs:g}", "--transfer.encoder", pretrained)
        job("transfer", *common, "--run", place, "--transfer.corpus", corpus_uri(runs, target), *asked, *fits)
    return kept(storage.read_json(storage.join(place, "result.json"))["tasks"])


def kept(tasks: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a run: the figures of every system, with intervals."""
    return {
        name: {
            "users": task["users"],
            "shares": {share: {"metrics": one["metrics"]} for share, one in task["shares"].items()},
        }
        for name, task in tasks.items()
    }


def measured_legacy(runs: str, source: str, target: str, share: float) -> dict[str, Any]:
    """The original form, once."""
    place = storage.join(runs, f"{source}-{target}", f"legacy-{share:g}.json")
    if not storage.exists(place):
        first, second = (open_corpus(corpus_uri(runs, domain)) for domain in (source, target))
        asked = CrossDomainTaskConfig(test_share=share, seed=0)
        task = read_cross_domain(first, second, resolve(ptupcdr().split, first), asked, ())
        storage.write_json(place, legacy(first, second, task.known_until()[0], seed=0))
    return dict(storage.read_json(place))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """A Markdown table of means over seeds."""
    yield from ("| from, to | test users | system | MAE | RMSE | NDCG@10 |", "|---|---|---|---|---|---|")
    for direction, shares in found.items():
        for share, figures in shares.items():
            metrics = [task["shares"]["1"]["metrics"] for tasks in figures["seeds"] for task in tasks.values()]
            for system in metrics[0] if metrics else ():
                means = [sum(one[system][name]["mean"] for one in metrics) / len(metrics) for name in MEASURES]
                yield f"| {direction} | {share} | {system} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |"
            for system, one in figures["legacy"].items():
                yield f"| {direction} | {share} | {system}, legacy | {one['mae']:.4f} | {one['rmse']:.4f} | |"


if __name__ == "__main__":
    main()
