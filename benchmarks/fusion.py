"""Does the user vector add to what one has already about a user? Trees on own columns with and without it.

    python benchmarks/fusion.py --data ../shared/data --runs runs/fusion [--epochs 30]

Gender, age and occupation of ML-1M beside its other columns; country and return within 28 days of Online Retail beside
tempo and, for the return, the country. `universal` is pretrained once a log and split by the project's own job, or
taken from `<runs>/pretrained-<log>` where it is there; boosted trees read its frozen vectors at a tenth of the labels
and at all of them, and heads on them read the columns too. Figures go to benchmarks/results/fusion.json.
"""

import argparse
import json
from typing import Any, NamedTuple

from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.report.pages.fusion import sentence
from ray_userrep.training.runs import environment

_HEADS = (
    "--transfer.arms", '["head_only", "frozen_mlp"]', "--transfer.beside_columns", "true", "--transfer.epochs", "16",
    "--transfer.readouts", '["own"]', "--transfer.label_shares", "[0.1, 1.0]", "--transfer.keep", "null",
    "--transfer.patience", "3", "--train.cpus_per_worker", "1",
)  # fmt: skip


class Study(NamedTuple):
    """Tasks over one log and split; studies with one `pretrained` share an encoder."""

    name: str
    log: str
    pretrained: str
    split: str
    options: tuple[str, ...]


STUDIES = [
    Study(
        "ml-1m", "ml-1m/ml-1m", "ml-1m", "leave_one_out",
        ("--transfer.task.attributes", '["gender", "age", "occupation"]'),
    ),
    Study("country", "online-retail", "online-retail", "leave_one_out", ("--transfer.task.attributes", '["country"]')),
    Study(
        "return", "online-retail", "online-retail-by-time", "global_time",
        ("--split.valid_share", "0.05", "--split.test_share", "0.2", "--transfer.task.kind", "return"),
    ),
]  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--runs", default="runs/fusion")
    arguments.add_argument("--epochs", type=float, default=30, help="passes of pretraining, where none is there")
    options = arguments.parse_args()
    runs, tasks = storage.absolute(options.runs), {}
    for study in STUDIES:
        tasks |= asked(study, options.data, runs, options.epochs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fusion.json").write_text(json.dumps({"environment": environment(), "tasks": tasks}, indent=1) + "\n")


def asked(study: Study, data: str, runs: str, epochs: float) -> dict[str, Any]:
    """The figures of a study's tasks by its transfer job; runs that are there are only read."""
    log = storage.absolute(storage.join(data, study.log))
    common = ("--recipe", "universal", "--split.rule", study.split, "--logs", log)
    common += ("--corpus", storage.join(runs, f"corpus-{study.log.split('/')[0]}"))
    pretrained, place = storage.join(runs, f"pretrained-{study.pretrained}"), storage.join(runs, study.name)
    if not storage.exists(storage.join(pretrained, "encoder")):
        job("pretrain", *common, "--run", pretrained, "--train.epochs", str(epochs), "--train.cpus_per_worker", "1")
    if not storage.exists(storage.join(place, "result.json")):
        encoder = ("--transfer.encoder", pretrained)
        job("transfer", *common, "--run", place, *encoder, *_HEADS, *study.options)
    tasks: dict[str, Any] = storage.read_json(storage.join(place, "result.json"))["tasks"]
    for name, task in tasks.items():
        print(f"{name}: {sentence(task)}")
    return {f"{study.log.split('/')[0]} {name}": task for name, task in tasks.items()}


if __name__ == "__main__":
    main()
