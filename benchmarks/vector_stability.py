"""Do vectors keep their meaning? Two seeds, and an encoder and its successor a week later, user by user.

    python benchmarks/vector_stability.py --data ../shared/data [--runs runs/vector_stability]

The bag of `universal` (beside a small Transformer, with which it shares no weights) is trained on Online Retail without
its last week, twice with other seeds; its successor is trained on (`train.warm_start`) after the week is appended. All
read the same histories, those before the last week. For each pair: the share of a user's ten nearest neighbours that
both have, each in its own space; and across the two spaces, as they are and after the orthogonal map that brings one
onto the other, fitted on half of the users and measured on the rest, the cosine of a user's two vectors and how often
the nearest in the other space is that user. Figures go to benchmarks/results/vector_stability.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from probing import read_users
from running import RESULTS, job
from scipy.linalg import orthogonal_procrustes
from sklearn.preprocessing import normalize

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.training.runs import environment

WEEK, NEIGHBOURS = 7 * 86_400 * 10**6, 10
_TRAINING = (
    "--recipe", "universal", "--encoder.width", "16", "--encoder.backbone.num_layers", "1", "--train.eval_every", "5",
    "--train.cpus_per_worker", "1", "--evaluation.exclude_seen", "false", "--evaluation.baselines", "false",
)  # fmt: skip
_RUNS = {
    "first": ("early", ("--train.epochs", "20")),
    "another seed": ("early", ("--train.epochs", "20", "--seed", "1")),
    "successor": ("late", ("--train.epochs", "4", "--train.learning_rate", "0.001", "--train.warm_start")),
}


def write_logs(data: str, runs: str) -> None:
    """The log without its last week, and the week as a file of its own beside it."""
    whole = storage.join(runs, "whole")
    if storage.exists(storage.join(runs, "early", "log.parquet")):
        return
    job("prepare", "--recipe", "online_retail", "--logs", f"{data}/online-retail", "--corpus", whole)
    histories, ids = read_users(corpus := open_corpus(whole))
    table = pa.table(
        {
            "user_id": pa.array(ids).take(np.repeat(np.arange(len(ids)), histories.lengths_U)),
            "item_id": corpus.items().ids.take(pa.array(histories.items_N)),
            "timestamp": pa.array(histories.times_N, pa.timestamp("us")),
        }
    )
    is_late = histories.times_N > histories.times_N.max() - WEEK
    for place, rows in (("early/log", ~is_late), ("late/week", is_late)):
        file = Path(runs) / f"{place}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pa.array(rows)), file)


def encoders(runs: str) -> tuple[dict[str, UserEncoder], Corpus]:
    """The three encoders, and the corpus as it was before the last week."""
    place = storage.join(runs, "corpus")
    job("prepare", "--logs", storage.join(runs, "early"), "--corpus", place)
    early = open_corpus(place, 1)
    for name, (log, options) in _RUNS.items():
        run = storage.join(runs, name.replace(" ", "-"))
        if log == "late":
            job("prepare", "--logs", storage.join(runs, "late"), "--corpus", place, "--corpus.append", "true")
        if not storage.exists(storage.join(run, "result.json")):
            start = (storage.join(runs, "first"),) if options[-1].endswith("warm_start") else ()
            job("pretrain", *_TRAINING, *options, *start, "--corpus", place, "--run", run)
    names = {name: storage.join(runs, name.replace(" ", "-"), "encoder") for name in _RUNS}
    return {name: UserEncoder.from_pretrained(uri) for name, uri in names.items()}, early


def neighbours(vectors_UF: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each user's nearest others by cosine, `[U, 10]`."""
    cosines_UU = vectors_UF @ vectors_UF.T
    np.fill_diagonal(cosines_UU, -np.inf)
    return np.argpartition(-cosines_UU, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def compared(one_UF: NDArray[np.float64], other_UF: NDArray[np.float64]) -> dict[str, float]:
    """How alike two encoders' unit vectors of the same users are."""
    near = zip(neighbours(one_UF), neighbours(other_UF), strict=True)
    found = {"neighbours": float(np.mean([len(np.intersect1d(a, b)) for a, b in near]) / NEIGHBOURS)}
    fit, test = np.array_split(np.random.default_rng(0).permutation(len(one_UF)), 2)
    rotation_FF, _ = orthogonal_procrustes(one_UF[fit], other_UF[fit])
    for name, moved_UF in {"as they are": one_UF[test], "aligned": one_UF[test] @ rotation_FF}.items():
        found[f"cosine, {name}"] = float((moved_UF * other_UF[test]).sum(1).mean())
        nearest_U = (moved_UF @ other_UF[test].T).argmax(1)
        found[f"same user nearest, {name}"] = float((nearest_U == np.arange(len(test))).mean())
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", default="../shared/data")
    arguments.add_argument("--runs", default="runs/vector_stability")
    options = arguments.parse_args()
    runs = storage.absolute(options.runs)
    write_logs(options.data, runs)
    found, corpus = encoders(runs)
    histories: Sequences = read_users(corpus)[0]
    histories = histories.take(np.flatnonzero(histories.lengths_U > 4))
    unit = {name: normalize(read_vectors(encoder, histories)) for name, encoder in found.items()}
    pairs = (("first", "another seed"), ("first", "successor"))
    report = {f"{a}, {b}": compared(unit[a], unit[b]) for a, b in pairs}
    (RESULTS / "vector_stability.json").write_text(
        json.dumps({"environment": environment(), "users": histories.num_users, "pairs": report}, indent=1) + "\n"
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
