"""One frozen vector of a user beside what needs no training: who a user of ML-1M is, from few labels and from all.

    python benchmarks/user_vector.py --data ../shared/data [--runs runs/user_vector]

Pretrains `universal` and `sasrec` by the project's own job, as the recipes are and with equal steps, and reads all
users' vectors. A linear probe, its penalty chosen on validation users, is asked for gender, age and occupation over
five splits of 3,624 users to learn from, 1,208 to validate on and 1,208 to test; AUC, of several classes the mean of
one against the rest. Differences are paired user by user; intervals are of the mean over the splits, whose test users
overlap by a fifth. Numbers go to benchmarks/results/user_vector.json.
"""

import argparse
import json
from itertools import product
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from numpy.typing import NDArray
from probing import SPLITS, Row, asked, difference, labels_of, read_users, splits
from running import IMAGES, RESULTS, job

from ray_userrep import storage
from ray_userrep.corpus.store import open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.evaluation.ranking import newest
from ray_userrep.evaluation.simple_vectors import svd, tf_idf
from ray_userrep.report import figures
from ray_userrep.report.results import load_result
from ray_userrep.training.runs import environment

WIDTH = 128
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
OURS, COUNTS, REDUCED = "universal, 128 numbers", "tf-idf", "SVD-128"
TRAINING = ("--train.eval_every", "2", "--train.cpus_per_worker", "1")


def pretrained(name: str, options: argparse.Namespace) -> str:
    """The folder of a run, trained where it is not there."""
    run = storage.join(options.runs, f"{name}-{options.epochs:g}")
    if not storage.exists(storage.join(run, "result.json")):
        log = ("--logs", f"{options.data}/ml-1m/ml-1m", "--corpus", f"{options.runs}/corpus")
        job("pretrain", "--recipe", name, *log, "--run", run, "--train.epochs", str(options.epochs), *TRAINING)
    return run


def by_idf(encoder: UserEncoder, histories: Sequences, num_items: int) -> NDArray[np.float64]:
    """The mean of the input vectors of a user's items, weighted by idf."""
    with torch.inference_mode():
        items_VD = encoder.items(None).double().numpy()
    return np.asarray(tf_idf(histories, num_items) @ items_VD)


def rows_of(histories: Sequences, num_items: int, universal: UserEncoder, sasrec: UserEncoder) -> dict[str, Row]:
    """Every row of the table."""
    counts = tf_idf(histories, num_items)
    reduced = svd(counts, WIDTH)
    rows = {
        COUNTS: Row(counts, False),
        "SVD-64": Row(svd(counts, 64), False),
        REDUCED: Row(reduced, False),
        "SVD-128, standardised": Row(reduced, True),
    }
    for last in (32, 50, 100, 200):
        rows[f"tf-idf of the newest {last}"] = Row(tf_idf(newest(histories, last), num_items), False, always=False)
    for readout in ("last", "mean", "whole"):
        sasrec.read_at(readout)
        rows[f"sasrec, {readout}"] = Row(read_vectors(sasrec, histories), True)
    rows["sasrec, input vectors by idf"] = Row(by_idf(sasrec, histories, num_items), True)
    parts = [rows[f"sasrec, {part}"].x_UF for part in ("last", "whole", "input vectors by idf")]
    rows["sasrec, last, whole and by idf"] = Row(np.concatenate(parts, axis=1), True)
    return rows | {OURS: Row(read_vectors(universal, histories), True)}


def printed(table: dict[str, dict[str, dict[str, float]]], over: dict[str, Any]) -> str:
    """A Markdown table at three shares of the labels, and what the vector is over the two best simple rows."""
    tasks, shares = list(next(iter(table.values()))), ("0.01", "0.1", "1")
    lines = ["| vector | " + " | ".join(f"{task} 1 / 10 / 100 %" for task in tasks) + " |", "|---" * 5 + "|"]
    for name, found in table.items():
        cells = [" / ".join(f"{found[task][s]:.3f}" if s in found[task] else "–" for s in shares) for task in tasks]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for other, found in over.items():
        for task, share in product(tasks, ("0.1", "1")):
            d = found[task][share]
            lines.append(f"over {other}, {task}, {share}: {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]")
    return "\n".join(lines)


def draw(table: dict[str, dict[str, dict[str, float]]], name: str) -> None:
    """Label curves: the AUC of the main rows at each share of the labels, a panel a task."""
    rows = [OURS, COUNTS, REDUCED, "sasrec, whole", "sasrec, last"]
    drawing = Figure(figsize=(9, 3.4), layout="constrained")
    tasks = next(iter(table.values()))
    for axis, task in zip(drawing.subplots(1, len(tasks)), tasks, strict=True):
        for row, colour in zip(rows, figures.COLOURS, strict=False):
            shares, values = zip(*((100 * float(s), value) for s, value in table[row][task].items()), strict=True)
            axis.plot(shares, values, color=colour, linewidth=1.8, marker="o", markersize=3, label=row)
        axis.set_xscale("log")
        axis.set_xticks([1, 10, 100], ["1", "10", "100"])
        axis.minorticks_off()
        figures.plain(axis, "% of the labels", "AUC")
        axis.set_title(task, color=figures.INK, fontsize=11, loc="left")
    drawing.legend(*drawing.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figures.save(drawing, IMAGES / f"{name}.png")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", default="../shared/data")
    arguments.add_argument("--runs", default="runs/user_vector")
    arguments.add_argument("--epochs", type=float, default=20.0)
    options = arguments.parse_args()
    options.runs = storage.absolute(options.runs)
    runs = {name: pretrained(name, options) for name in ("universal", "sasrec")}
    corpus = open_corpus(f"{options.runs}/corpus")
    histories, ids = read_users(corpus)
    encoders = [UserEncoder.from_pretrained(storage.join(run, "encoder")) for run in runs.values()]
    rows, labels = rows_of(histories, corpus.manifest.num_items, *encoders), labels_of(corpus, ids)
    cells = [c for c in product(rows, labels, SHARES) if rows[c[0]].always or c[2] == 1.0]
    work = [delayed(asked)(rows[n], labels[t], share, parts) for n, t, share in cells for parts in splits(len(ids))]
    found = Parallel(n_jobs=-1, verbose=1, max_nbytes=None)(work)
    by_cell = {cell: found[i * SPLITS : (i + 1) * SPLITS] for i, cell in enumerate(cells)}
    table: dict[str, Any] = {name: {task: {} for task in labels} for name in rows}
    for (name, task, share), one in by_cell.items():
        table[name][task][f"{share:g}"] = float(np.mean([split["figure"] for split in one]))
    over = {
        other: {t: {f"{s:g}": difference(by_cell[OURS, t, s], by_cell[other, t, s]) for s in SHARES} for t in labels}
        for other in (COUNTS, REDUCED)
    }
    next_items = {name: load_result(run)["metrics"]["ndcg@10"] for name, run in runs.items()}
    report = {"environment": environment(), "epochs": options.epochs, "ndcg@10": next_items}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "user_vector.json").write_text(json.dumps(report | {"table": table, "over": over}, indent=1) + "\n")
    draw(table, "user_vector")
    print(printed(table, over))
    print({name: round(metric["mean"], 4) for name, metric in next_items.items()})


if __name__ == "__main__":
    main()
