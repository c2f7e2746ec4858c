"""Training speed of SASRec beside RecTools, RecBole and RePlay: trained interactions a second, seconds to an NDCG@10.

    python benchmarks/training.py [--data beauty ml1m] [--losses full sampled] [--seconds 45] [--ray]
    python benchmarks/training.py --target-ndcg beauty=0.045 ml1m=0.16 --seconds 900

All systems train on the same interactions (leave-one-out, each user's newest window, every position a target) with the
same width, depth, heads, feed-forward, dropout, users a step and threads, each in a process and an environment of its
own, which is made where it is missing; in turn, several times over; medians count. Small steps can be faster on one
thread than on two: each system counts with its better number. Learning rates are constant, each side's own default.
Only real targets are counted, and the first `--warmup-seconds` of each process left out; running out of memory is a
result. Our side is the bare loop, with `--ray` also one worker of Ray Train. With targets, `--seconds` bounds the
training of each system, and evaluations are left out of its time. Figures go to `--results`: training.json, or
training_target.json; where one of our steps goes, to docs/images/training_profile.png.
"""

import argparse
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from peers.environments import REQUIREMENTS, python_of
from peers.inside import look
from peers.runs import BARE, RAY, SYSTEMS, Case, Row, Runner, measured, table

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_histories, read_train
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.fields import validated
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.report.figures import save
from ray_userrep.training.runs import environment
from ray_userrep.workflows.prepare import open_or_prepare

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
SHAPE = {"width": 64, "layers": 2, "heads": 2}
COPIED = (
    *("seed", "warmup_seconds", "batch_users", "negatives"),
    *("dropout", "learning_rate", "evaluated_users"),
)
BUSY = 0.5  # load: threads that wait for each other lose far more than their share to anything else that runs
PLACES = ("environments", "results")  # of this machine, and not part of a result


class Source(NamedTuple):
    """A log, its layout and the length of the windows that the field uses on it."""

    uri: str
    reader: str
    length: int


SOURCES = {
    "beauty": Source("../shared/data/amazon-2014-Beauty/data/Beauty.txt.gz", "s3rec", 50),
    "ml1m": Source("../shared/data/ml-1m/ml-1m", "movielens", 200),
}


def main() -> None:
    options = arguments()
    if os.getloadavg()[0] > BUSY:
        print(
            f"this machine is at work (load {os.getloadavg()[0]:.1f}): figures of several threads mean little",
            flush=True,
        )
    targets = dict(options.target_ndcg)
    all_systems = [BARE, *([RAY] if options.ray else []), *SYSTEMS]
    systems = [name for name in all_systems if name.split(",")[0] in options.systems]
    peers = [name for name in options.systems if name != BARE]
    result: dict[str, Any] = {
        "environment": environment(),
        "options": {name: value for name, value in vars(options).items() if name not in PLACES},
        "peers": {peer: REQUIREMENTS[peer] for peer in peers},
        "cases": {},
    }
    rows: dict[str, dict[str, Row]] = result["cases"]
    with tempfile.TemporaryDirectory() as scratch:
        names = [name for name in options.data if not targets or name in targets]
        cases = [case for name in names for case in cases_of(name, options, Path(scratch))]
        ray.shutdown()  # it would work beside what is timed
        run = Runner({peer: python_of(peer, options.environments) for peer in peers}, Path(scratch))
        for case in cases:
            rows[case.name] = measured(case, systems, 1 if targets else options.repeats, run)
            write(result, options.results, "training_target.json" if targets else "training.json")
        if BARE in systems and not targets:
            result["peak_flops_per_second"], drawing = look(cases, rows, run)
            save(drawing, IMAGES / "training_profile.png")
            write(result, options.results, "training.json")
    print(table(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    for name, source in SOURCES.items():
        parser.add_argument(f"--{name}", default=source.uri, metavar="URI")
        parser.add_argument(f"--{name}-reader", default=source.reader, metavar="NAME")
        parser.add_argument(f"--{name}-length", type=int, default=source.length)
    parser.add_argument("--losses", nargs="+", choices=("full", "sampled"), default=["full", "sampled"])
    parser.add_argument("--systems", nargs="+", choices=(BARE, *REQUIREMENTS), default=[BARE, *REQUIREMENTS])
    parser.add_argument("--ray", action="store_true", help="also our side on one worker of Ray Train")
    parser.add_argument("--seconds", type=float, default=45, help="counted, of a system and case over all repeats")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warmup-seconds", type=float, default=5)
    parser.add_argument("--batch-users", type=int, default=128, help="users of an optimiser step, on average in ours")
    parser.add_argument("--negatives", type=int, default=128, help="of a target in sampled softmax")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the peers: the default of all three")
    parser.add_argument("--our-learning-rate", type=float, default=sasrec().train.learning_rate, help="the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count()], help="of a process, in turn")
    parser.add_argument("--memory-gib", type=float, default=available_gib(), help="bound of a process")
    parser.add_argument("--target-ndcg", nargs="+", type=target, default=[], metavar="DATA=NDCG@10")
    parser.add_argument("--evaluate-every", type=float, default=0.5, help="epochs between evaluations to a target")
    parser.add_argument("--evaluated-users", type=int, default=4000, help="validation users, the same in all systems")
    parser.add_argument("--environments", type=Path, default=HERE / ".environments", metavar="DIR")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    return parser.parse_args()


def target(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    if name not in SOURCES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SOURCES)}")
    return name, float(number)


def available_gib() -> float:
    """Nine tenths of the memory that is free now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return round(0.9 * kib / 2**20, 1)


def write(result: dict[str, Any], folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(result, indent=2) + "\n")


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
        "seconds": options.seconds if options.target_ndcg else options.seconds / options.repeats,
        "target_ndcg": dict(options.target_ndcg).get(name),
        "evaluate_every": round(options.evaluate_every * num_targets),
        "measure": "train",
    }
    cases = []
    for loss, threads in itertools.product(options.losses, options.threads):
        recipe = ours(name, loss, options, batch_targets)
        own = {"loss": loss, "threads": threads, "recipe": recipe.model_dump_json()}
        told = f"{name}, {loss} softmax, {threads} thread{'s' * (threads > 1)}"
        cases.append(Case(told, recipe, corpus, job | own))
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


if __name__ == "__main__":
    main()
