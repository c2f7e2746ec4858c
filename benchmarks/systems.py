"""The published systems' pretrainings at one small size: what do their frozen vectors say of a user's whole history?

    python benchmarks/systems.py --data ../shared/data [--runs runs/systems] [--only NAME] [--epochs 3] [--jobs -1]

Every recipe is pretrained on ML-1M by the project's loop, on one core without Ray around it: vectors of 64 numbers,
windows of 50, equal batches, learning rates and passes. Users are then read out twice, as the system itself does it
(mostly from the newest window) and over the whole history, and a linear probe is asked for gender, age and occupation
(probing.py). Beside them stand the same on tf-idf counts and their SVD, boosted trees on the commonest items' counts,
and an encoder that was never trained. UAF pretrains just as PeterRec does, so that one row is both's. Encoders and
answers are kept, so that the study goes on where it stopped; with --only the table holds what there is. Numbers go to
benchmarks/results/systems.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np
import torch
from clue_naver import smaller as clue_naver
from clue_naver import write_services
from joblib import Parallel, delayed
from numpy.typing import NDArray
from probing import RESAMPLES, Row, asked, difference, judged, labels_of, read_users, splits
from running import RESULTS
from unisrec import smaller as unisrec

from ray_userrep import storage
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.evaluation.simple_vectors import svd, tf_idf
from ray_userrep.logs.connection import connect
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.encoder import TEMPO_WIDTH
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.bert4rec import bert4rec
from ray_userrep.recipes.clue_icdm import clue_icdm
from ray_userrep.recipes.conure import conure
from ray_userrep.recipes.peterrec import peterrec
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.shopperbert import shopperbert
from ray_userrep.recipes.universal import universal
from ray_userrep.recipes.userbert import userbert
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.callbacks import Record
from ray_userrep.training.fit import fit, load_encoder
from ray_userrep.training.records import progress_line
from ray_userrep.training.runs import environment
from ray_userrep.transfer.tasks.label_baselines import commonest_counts, trees
from ray_userrep.workflows.prepare import open_or_prepare

Ask = Callable[[NDArray[np.float64], float, tuple[NDArray[np.int64], ...]], dict[str, Any]]

WIDTH = 64
TASKS, SHARES = ("gender", "age", "occupation"), (0.01, 0.1, 1.0)
COUNTS, REDUCED, TRAINED = "tf-idf", "SVD-128", "trained.json"
RECIPES: dict[str, Callable[[], Recipe]] = {
    "universal": universal,
    "sasrec": sasrec,
    "bert4rec": bert4rec,
    "peterrec": peterrec,
    "conure": conure,
    "clue_icdm": clue_icdm,
    "userbert": userbert,
    "shopperbert": shopperbert,
    "unisrec": unisrec,
    "clue_naver": clue_naver,
}


def sized(recipe: Recipe, epochs: float) -> Recipe:
    """The recipe in the study's size."""
    raw = recipe.model_dump()
    raw["stream"] |= {"max_len": 50, "windows": "tile", "batch_tokens": 4096}
    raw["encoder"] |= {"width": WIDTH, "bag_kept": WIDTH - TEMPO_WIDTH}
    raw["text"] |= {"max_tokens": 64}
    if raw["encoder"]["backbone"]["kind"] == "cnn":
        raw["encoder"]["backbone"]["num_blocks"] = 4
    raw["train"] |= {"epochs": epochs, "eval_every": epochs / 2, "patience": None, "learning_rate": 3e-3}
    return Recipe.model_validate(raw)


class Study:
    """Where the study's logs, corpora and runs are, and what is common to all rows."""

    def __init__(self, data: str, runs: str, epochs: float) -> None:
        self.runs, self.epochs = storage.absolute(runs), epochs
        self.log = storage.absolute(storage.join(data, "ml-1m/ml-1m"))
        self.corpus = self.prepared(sasrec())
        self.histories, ids = read_users(self.corpus)
        self.num_items = self.corpus.manifest.num_items
        self.labels = labels_of(self.corpus, ids)

    def prepared(self, recipe: Recipe, name: str = "corpus", log: str | None = None) -> Corpus:
        """The corpus of a log, by default that of ML-1M, with the text vectors that the recipe wants."""
        places = {"logs": LogsConfig(uri=log or self.log), "corpus": CorpusConfig(uri=storage.join(self.runs, name))}
        return open_or_prepare(recipe.model_copy(update=places))

    def services(self) -> str:
        """The log with old and new films as two domains, which CLUE (NAVER) learns from."""
        log = storage.join(self.runs, "services_log")
        write_services(self.log, log, self.corpus.uri)
        return log

    def pretrained(self, name: str) -> tuple[UserEncoder, Corpus]:
        """A system's encoder, trained where it is not there, and the corpus that it learned from."""
        run, recipe = self.run_of(name), sized(RECIPES[name](), self.epochs)
        in_two = name == "clue_naver"
        corpus = self.prepared(recipe, "services", self.services()) if in_two else self.prepared(recipe)
        if not storage.exists(storage.join(run, TRAINED)):
            began = time.process_time()
            fit(recipe, corpus, run, lambda m: BareEngine(m, recipe.train, torch.device("cpu")), show)
            storage.write_json(storage.join(run, TRAINED), {"core_seconds": time.process_time() - began})
        return load_encoder(run), corpus

    def run_of(self, name: str) -> str:
        return storage.join(self.runs, f"{name}-{self.epochs:g}")

    def rows(self) -> Iterator[tuple[str, Callable[[], Ask]]]:
        """Every row's name, and what makes it."""
        yield COUNTS, lambda: linear(tf_idf(self.histories, self.num_items), False)
        for width in (WIDTH, 128):
            yield f"SVD-{width}", partial(self.reduced, width)
        yield "boosted trees on item counts", lambda: partial(by_trees, self.histories, self.num_items)
        for readout in ("own", "whole"):
            yield f"untrained, {readout}", partial(self.read, None, readout)
        for name in RECIPES:
            for readout in ("own",) if name == "universal" else ("own", "whole"):
                yield f"{name}, {readout}", partial(self.read, name, readout)

    def reduced(self, width: int) -> Ask:
        return linear(svd(tf_idf(self.histories, self.num_items), width), False)

    def read(self, name: str | None, readout: str) -> Ask:
        """The vectors of a system's encoder, or of one that nothing was trained of."""
        encoder, corpus = (self.untrained(), self.corpus) if name is None else self.pretrained(name)
        if readout == "whole":
            encoder.read_at("whole")
        histories, _ = read_users(corpus, encoder.side_columns)
        assert np.array_equal(histories.users_U, self.histories.users_U), "both corpora hold the same users, in order"
        return linear(read_vectors(encoder, histories), True)

    def untrained(self) -> UserEncoder:
        recipe = sized(sasrec(), self.epochs)
        torch.manual_seed(recipe.seed)
        return build_encoder(recipe.encoder, self.corpus.items(), recipe.stream.max_len)

    def answers(self, name: str, make: Callable[[], Ask], jobs: int) -> dict[str, Any]:
        """What a row is worth on each task at each share of the labels, split by split; asked once and kept."""
        place = self.place_of(name)
        if not storage.exists(place):
            ask, cells = make(), list(product(TASKS, SHARES))
            work = [delayed(ask)(self.labels[t], s, p) for t, s in cells for p in splits(self.histories.num_users)]
            found = [one | {"drawn": one["drawn"].tolist()} for one in Parallel(n_jobs=jobs, max_nbytes=None)(work)]
            each = len(found) // len(cells)
            by_task: dict[str, Any] = {task: {} for task in TASKS}
            for i, (task, share) in enumerate(cells):
                by_task[task][f"{share:g}"] = found[i * each : (i + 1) * each]
            storage.write_json(place, by_task)
            print(f"asked     {name}", flush=True)
        kept = storage.read_json(place)
        for each_task in kept.values():
            for split in chain.from_iterable(each_task.values()):
                split["drawn"] = np.array(split["drawn"])
        return dict(kept)

    def place_of(self, row: str) -> str:
        return storage.join(self.runs, f"asked-{self.epochs:g}", row.replace(", ", "-").replace(" ", "_") + ".json")


def show(record: Record) -> None:
    print(progress_line(record), flush=True)


def linear(x_UF: Any, standardise: bool) -> Ask:
    return partial(asked, Row(x_UF, standardise))


def by_trees(
    histories: Sequences,
    num_items: int,
    y_U: NDArray[np.float64],
    share: float,
    parts: tuple[NDArray[np.int64], ...],
) -> dict[str, Any]:
    """The AUC of boosted trees on counts of the items that are commonest among the users learned from."""
    fit, tune, test = parts
    fit = fit[: round(len(fit) * share)]
    order = np.concatenate([fit, tune, test])
    counts = commonest_counts(histories.take(order), num_items, len(fit))
    bounds = np.cumsum([len(fit), len(tune)])
    return judged(y_U[test], trees(counts, y_U[order[: bounds[1]]], bounds, int(y_U.max()) + 1))


def compared(found: dict[str, Any]) -> dict[str, Any]:
    """Mean AUCs, and each row's differences to the two best rows that need no training."""
    cells = [(task, f"{share:g}") for task, share in product(TASKS, SHARES)]
    table: dict[str, Any] = {row: {task: {} for task in TASKS} for row in found}
    over: dict[str, Any] = {o: {row: {t: {} for t in TASKS} for row in found if row != o} for o in (COUNTS, REDUCED)}
    for row, (task, share) in product(found, cells):
        table[row][task][share] = float(np.mean([one["figure"] for one in found[row][task][share]]))
        for other in over.keys() - {row}:
            over[other][row][task][share] = difference(found[row][task][share], found[other][task][share])
    return {"table": table, "over": over}


def printed(table: dict[str, Any], over: dict[str, Any]) -> str:
    """A Markdown table; bold: better than tf-idf counts, italic: worse (95 %)."""
    lines = ["| vector | " + " | ".join(f"{task} 1 / 10 / 100 %" for task in TASKS) + " |", "|---" * 4 + "|"]
    for row, found in table.items():
        beside = over[COUNTS].get(row, {task: {} for task in TASKS})
        cells = [" / ".join(marked(found[task][s], beside[task].get(s)) for s in found[task]) for task in TASKS]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    for other, rows in over.items():
        lines += ["", f"| over {other} | " + " | ".join(f"{t} {s} %" for t, s in product(TASKS, (10, 100))) + " |"]
        lines.append("|---" * 7 + "|")
        for row, found in rows.items():
            cells = [spread(found[task][share]) for task, share in product(TASKS, ("0.1", "1"))]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def marked(value: float, over: dict[str, float] | None) -> str:
    text = f"{value:.3f}".removeprefix("0")
    if over is None or over["low"] <= 0 <= over["high"]:
        return text
    return f"**{text}**" if over["low"] > 0 else f"*{text}*"


def spread(d: dict[str, float]) -> str:
    return f"{d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/systems")
    arguments.add_argument("--only", default="", help="rows whose name starts so, beside those asked already")
    arguments.add_argument("--epochs", type=float, default=3.0, help="passes over the log")
    arguments.add_argument("--jobs", type=int, default=-1, help="probes fitted side by side; -1: one a core")
    options = arguments.parse_args()
    connect()
    torch.set_num_threads(1)  # each process one core
    study = Study(options.data, options.runs, options.epochs)
    found = {
        name: study.answers(name, make, options.jobs)
        for name, make in study.rows()
        if name.startswith((options.only, COUNTS, REDUCED)) or storage.exists(study.place_of(name))
    }
    trained = {name: storage.join(study.run_of(name), TRAINED) for name in RECIPES}
    seconds = {n: storage.read_json(uri)["core_seconds"] for n, uri in trained.items() if storage.exists(uri)}
    report = {"environment": environment(), "epochs": options.epochs, "resamples": RESAMPLES, "core_seconds": seconds}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "systems.json").write_text(json.dumps(report | compared(found), indent=1) + "\n")
    print(printed(**compared(found)))


if __name__ == "__main__":
    main()
