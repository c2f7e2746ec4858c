"""The published systems by this project's jobs on public data: does pretraining help, by which way to adapt it?

    python benchmarks/transfer.py --data ../shared/data [--only peterrec] [--runs runs/transfer]

Each study is one command that anyone can run; finished fits are kept, so that a study goes on where it stopped. Sizes
are chosen for one core, so that two studies run side by side on two, and not for the last point of a metric; fits stop
when validation no longer gains, so that a hundredth of the labels gets its steps too. Pages and numbers go to
benchmarks/results/.
"""

import argparse
import json
from typing import NamedTuple

from running import job, keep

from ray_userrep import storage
from ray_userrep.recipes.userbert import userbert

_SMALL = (
    "--stream.max_len", "32", "--train.epochs", "12", "--train.patience", "3", "--transfer.epochs", "16",
    "--transfer.min_steps", "200", "--transfer.patience", "3", "--transfer.batch_tokens", "1024",
    "--transfer.learning_rates", "[0.003]", "--transfer.readouts", '["mean"]', "--train.cpus_per_worker", "1",
)  # fmt: skip
_TINY = (
    "--stream.batch_tokens", "256", "--transfer.batch_tokens", "256", "--train.epochs", "40", "--train.patience", "6",
    "--transfer.epochs", "40", "--transfer.patience", "6",
)  # fmt: skip
_BACKBONE = ("--encoder.backbone.num_blocks", "4")  # that of the study of PeterRec
_NARROW = ("--encoder.width", "64")
_ML_1M = "ml-1m/ml-1m"
_BESIDE = "CORPUS"  # stands for the second log's corpus
_SEQUENCE = json.dumps(
    [
        {"task": {"kind": "next_item"}},
        {"task": {"kind": "attribute"}},
        {"task": {"kind": "next_item"}, "corpus": _BESIDE},
        {"task": {"kind": "attribute"}, "corpus": _BESIDE},
    ]
)
_SAMPLED = ("--objective.softmax.kind", "sampled", "--objective.softmax.num_negatives", "512")
_NEXT_ITEM_ARMS = '["scratch", "head_only", "last_layers", "full", "lora"]'
_FEW_ARMS = '["scratch", "frozen_mlp", "full"]'
_ASKED = ("--transfer.task.attributes", '["gender", "age"]')
_SYSTEM = (*_SMALL, "--train.epochs", "6", *_ASKED)


class Study(NamedTuple):
    """A job with its options on a log below the data, maybe on another one beside it, or with another one's encoder."""

    name: str
    job: str
    log: str
    options: tuple[str, ...]
    beside: str | None = None
    encoder: str | None = None  # the study that pretrained it


def system(name: str, *options: str) -> Study:
    """A system's frozen and fine-tuned encoder beside the same one from scratch."""
    return Study(name, "transfer", _ML_1M, ("--recipe", name, *_SYSTEM, *options, "--transfer.arms", _FEW_ARMS))


def ablation(system: str, change: str, *options: str) -> Study:
    """A system with something changed, judged by its frozen vectors."""
    only = ("--transfer.arms", '["frozen_mlp"]', "--evaluation.baselines", "false")
    return Study(f"{system}-{change}", "transfer", _ML_1M, ("--recipe", system, *_SYSTEM, *options, *only))


def peterrec(attribute: str, encoder: str | None = None) -> Study:
    """Every way of the paper to adapt one encoder to an attribute, over shares of the labels."""
    options = (
        "--recipe", "peterrec", *_SMALL, "--transfer.task.attributes", json.dumps([attribute]),
        "--transfer.task.min_examples", "5", "--transfer.num_seeds", "5", "--transfer.label_shares", "[0.01, 0.1, 1.0]",
    )  # fmt: skip
    return Study(f"peterrec_{attribute}", "transfer", _ML_1M, options, encoder=encoder)


def userbert_parts(num_hard: int | None, negatives: str) -> str:
    """The parts of UserBERT's objective with other negatives: drawn, or the hardest of the batch."""
    raw = userbert().objective.model_dump()
    raw["parts"][0]["objective"]["softmax"] |= {"num_hard": num_hard, "semi_hard": False}
    raw["parts"][1]["objective"]["negatives"] = negatives
    return json.dumps(raw["parts"])


ABLATIONS = [
    *(ablation("clue_icdm", f"temperature-{t}", *_BACKBONE, "--objective.temperature", t) for t in ("0.03", "0.3")),
    *(ablation("clue_icdm", f"share-{share}", *_BACKBONE, "--objective.share", share) for share in ("0.3", "0.9")),
    ablation("clue_icdm", "batch-2048", *_BACKBONE, "--stream.batch_tokens", "2048"),
    ablation("userbert", "random", "--objective.parts", userbert_parts(None, "random")),
    ablation("userbert", "hardest", "--objective.parts", userbert_parts(64, "hard")),
    ablation("shopperbert", "cls", *_NARROW, "--encoder.readout", "cls", "--transfer.readouts", '["own"]'),
]

STUDIES = [
    peterrec("gender"),
    peterrec("age", encoder="peterrec_gender"),
    peterrec("occupation", encoder="peterrec_gender"),
    system("peterrec"),
    system("clue_icdm", *_BACKBONE),
    system("userbert"),
    system("shopperbert", *_NARROW),
    *ABLATIONS,
    Study("uaf", "transfer", _ML_1M, ("--recipe", "uaf", *_SMALL, *_ASKED), encoder="peterrec_gender"),
    Study(
        "conure", "continual", _ML_1M,
        ("--recipe", "conure", "--encoder.width", "64", "--train.epochs", "8", "--continual.tasks", _SEQUENCE),
        beside="online-retail",
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
         "--transfer.batch_tokens", "4096", "--transfer.arms", _NEXT_ITEM_ARMS, *_SAMPLED),
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

    def places(log: str) -> tuple[str, str]:
        return storage.absolute(storage.join(data, log)), storage.join(runs, "corpora", log.replace("/", "-"))

    place, (log, corpus) = storage.join(runs, study.name), places(study.log)
    if not storage.exists(storage.join(place, "result.json")):
        options = study.options
        if study.beside is not None:
            other_log, other = places(study.beside)
            job("prepare", "--logs", other_log, "--corpus", other)
            options = tuple(option.replace(_BESIDE, other) for option in options)
        if study.encoder is not None:
            options += ("--transfer.encoder", storage.join(runs, study.encoder, "pretrain"))
        job(study.job, "--logs", log, "--corpus", corpus, "--run", place, *options)
    keep(f"{study.job}_{study.name}", place, {}, {runs: "runs", data: "data"})


if __name__ == "__main__":
    main()
