"""The published systems by this project's jobs on public data: does pretraining help, by which way to adapt it?

    python benchmarks/transfer.py --data ../shared/data [--only peterrec] [--runs runs/transfer]

Each study is one command that anyone can run; finished fits are kept, so that a study goes on where it stopped. Sizes
and epochs are chosen for a few core minutes a study, not for the last point of a metric. Pages and numbers go to
benchmarks/results/.
"""

import argparse
from typing import NamedTuple

from running import job, keep

from ray_userrep import storage

_SMALL = (
    "--stream.max_len", "50", "--train.epochs", "12", "--train.patience", "3", "--transfer.epochs", "8",
    "--transfer.patience", "2", "--transfer.learning_rates", "[0.003]", "--transfer.readouts", '["mean"]',
)  # fmt: skip
_TINY = (
    "--stream.batch_tokens", "256", "--transfer.batch_tokens", "256", "--train.epochs", "40", "--train.patience", "6",
    "--transfer.epochs", "40", "--transfer.patience", "6",
)  # fmt: skip
_ML_1M = "ml-1m/ml-1m"
_NEXT_ITEM_ARMS = '["scratch", "head_only", "last_layers", "full", "lora"]'
_FEW_ARMS = '["scratch", "frozen_mlp", "full"]'
_PETERREC_ARMS = '["scratch", "frozen_mlp", "full", "lora", "serial_patches", "parallel_patches", "peter_zero"]'


class Study(NamedTuple):
    """A job with its options on a log below the data."""

    name: str
    job: str
    log: str
    options: tuple[str, ...]


STUDIES = [
    Study(
        "peterrec", "transfer", _ML_1M,
        ("--recipe", "peterrec", *_SMALL, "--transfer.arms", _PETERREC_ARMS, "--transfer.num_seeds", "5",
         "--transfer.label_shares", "[0.01, 0.1, 1.0]", "--transfer.task.min_examples", "5"),
    ),
    *(
        Study(name, "transfer", _ML_1M, ("--recipe", name, *_SMALL, "--transfer.arms", _FEW_ARMS))
        for name in ("clue_icdm", "userbert", "shopperbert")
    ),
    Study("uaf", "transfer", _ML_1M, ("--recipe", "uaf", *_SMALL)),
    Study(
        "conure", "continual", _ML_1M,
        ("--recipe", "conure", "--encoder.width", "64", "--train.epochs", "8"),
    ),
    Study(
        "gift_cards", "transfer", "amazon-2018-Gift_Cards",
        ("--recipe", "sasrec", *_SMALL, *_TINY, "--transfer.task.kind", "next_item",
         "--transfer.arms", _NEXT_ITEM_ARMS),
    ),
    Study("book_crossing", "transfer", "book-crossing", ("--recipe", "sasrec", *_SMALL)),
    Study(
        "yelp", "transfer", "yelp/data",
        ("--recipe", "sasrec", *_SMALL, "--transfer.task.kind", "next_item", "--transfer.task.users", "cold",
         "--transfer.arms", _NEXT_ITEM_ARMS),
    ),
]  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="studies whose name starts so")
    arguments.add_argument("--runs", default="runs/transfer")
    options = arguments.parse_args()
    for study in STUDIES:
        if study.name.startswith(options.only):
            run(study, options.data, storage.absolute(options.runs))


def run(study: Study, data: str, runs: str) -> None:
    """The study by its job; studies of one log share its corpus."""
    log = storage.absolute(storage.join(data, study.log))
    place = storage.join(runs, study.name)
    corpus = storage.join(runs, "corpora", study.log.replace("/", "-"))
    if not storage.exists(storage.join(place, "result.json")):
        job(study.job, "--logs", log, "--corpus", corpus, "--run", place, *study.options)
    keep(f"{study.job}_{study.name}", place, {})


if __name__ == "__main__":
    main()
