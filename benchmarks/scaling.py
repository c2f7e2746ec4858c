"""Two scaling studies: MovieLens-1M, and a synthetic log on which the least possible loss is known.

    python benchmarks/scaling.py --data ../shared/data [--only synthetic] [--runs runs/scaling]

Each is the scaling job as anyone would run it: six sizes, four amounts of data, two seeds, the learning
rate tried at each size, the largest two settings predicted before they are trained. Resumable.
The page, the numbers and the picture of the loss go to benchmarks/results/.
"""

import argparse
import json
from typing import NamedTuple

import numpy as np
from running import IMAGES, job, keep

from ray_userrep import storage
from ray_userrep.command import load
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.evaluation.losses import read_unseen
from ray_userrep.feed.windows import tiles
from ray_userrep.logs.synthetic.planted import Floors
from ray_userrep.logs.synthetic.synthesize import DESCRIPTION
from ray_userrep.report import figures
from ray_userrep.report.pages.scaling import loss_figure

SIZES = "[3000, 10000, 30000, 100000, 300000, 1100000]"
# The last item tells all that can be known: a rule that reaches further back is found all at once, which is no law.
SYNTHETIC = (
    "--interactions", "2100000", "--users", "20000", "--items", "2000", "--interests", "10", "--variants", "1",
    "--follow", "0.8", "--min_length", "20", "--length_exponent", "3", "--seed", "1",
)  # fmt: skip


class Study(NamedTuple):
    """A recipe, a log below the data, or none where a synthetic one is written, and how much the runs see and spend."""

    name: str
    recipe: str
    log: str | None
    amounts: str
    budgets: str
    options: tuple[str, ...] = ()


STUDIES = [
    Study("synthetic", "ladder", None, "[30000, 100000, 300000, 900000]", "[3e10, 1e11, 3e11]"),
    Study(
        "ml-1m",
        "ladder",
        "ml-1m/ml-1m",
        "[22000, 66000, 200000, 600000]",
        "[]",
        ("--evaluation.exclude_seen", "true", "--scale.batches", "[128]"),
    ),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="studies whose name starts so")
    arguments.add_argument("--runs", default="runs/scaling")
    options = arguments.parse_args()
    for study in STUDIES:
        if study.name.startswith(options.only):
            run(study, options.data, storage.absolute(storage.join(options.runs, study.name)))


def run(study: Study, data: str, folder: str) -> None:
    """The study by its job, and what is kept of it."""
    log = storage.absolute(storage.join(data, study.log)) if study.log else storage.join(folder, "log")
    if not study.log and not storage.exists(storage.join(log, DESCRIPTION)):
        job("synthesize", "--output", log, *SYNTHETIC)
    corpus, place = storage.join(folder, "corpus"), storage.join(folder, "study")
    least = () if study.log else ("--scale.floor", str(floor(study.recipe, log, corpus)))
    job(
        "scale", "--recipe", study.recipe, "--logs", log, "--corpus", corpus, "--run", place, "--scale.sizes", SIZES,
        "--scale.data", study.amounts, "--scale.budgets", study.budgets, "--scale.tune", "[0.25, 0.5, 1, 2, 4]",
        *study.options, *least,
    )  # fmt: skip
    name = f"scaling_{study.name}"
    result = keep(name, place, {}, {folder: "runs", data: "data"})
    values = storage.read_json(storage.join(place, "figures", "loss.json"))
    figures.save(loss_figure(values), IMAGES / f"{name}.png")
    print(json.dumps({"study": study.name, "proof": result["proof"], "floor": result["floor"]}, indent=2))


def floor(recipe: str, log: str, corpus_uri: str) -> float:
    """The least loss possible on the validation windows of a synthetic log."""
    job("prepare", "--recipe", recipe, "--logs", log, "--corpus", corpus_uri)
    chosen, corpus = load(recipe), open_corpus(corpus_uri)
    told = storage.read_json(storage.join(log, DESCRIPTION))
    users = read_unseen(corpus, resolve(chosen.split, corpus))
    length_W = tiles(np.maximum(users.lengths_U - 1, 0), chosen.stream.max_len)[2]
    num_short = int(np.minimum(length_W, told["config"]["lag"] - 1).sum())
    return Floors(**told["floors_nats"]).mean(num_short, int(length_W.sum()) - num_short)


if __name__ == "__main__":
    main()
