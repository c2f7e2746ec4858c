"""What becomes of damage: mistyped recipes, damaged logs, and damaged folders that jobs left.

    python benchmarks/fuzz.py --left FOLDER

FOLDER holds what jobs left, such as corpora and runs of pretrain, transfer, continual and scale; every corpus, an
encoder of each job and every run that has ended below it is damaged anew in each case, a copy of it. `--seed`,
`--recipes` and `--cases` say which cases and how many of each kind. Each kind's result goes to
benchmarks/results/fuzz.json as it comes, with its commit; an interrupted call goes on with the kinds that are missing.

Logs have no checksums: a changed number in a log is another log, which nobody can tell.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fuzzing.folders import Stored, folder_cases, read_corpus, read_encoder, read_run
from fuzzing.logs import log_case
from fuzzing.outcomes import CRASH, HANG, OTHER, OUTCOMES, TRACEBACK, Case, outcomes
from fuzzing.recipes import recipe_case
from running import RESULTS

from ray_userrep.training.runs import environment

PLACE = RESULTS / "fuzz.json"
_WRONG = (OTHER, TRACEBACK, HANG, CRASH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--left", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", type=int, default=10_000)
    parser.add_argument("--cases", type=int, default=1_000)
    args = parser.parse_args()
    torch.set_num_threads(1)  # cases run in forks, where a pool of threads that was begun before never answers
    here = environment(use_gpu=False)
    of = {"seed": args.seed, "recipes": args.recipes, "cases": args.cases}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, number in _kinds(args, Path(folder)):
            told = json.loads(PLACE.read_text()) if PLACE.exists() else {}
            rows = told["rows"] if told.get("of") == of else {}
            if name not in rows:
                rows[name] = {"commit": here["commit"]} | _row(name, kind(), number)
                PLACE.write_text(json.dumps({"of": of, "environment": here, "rows": rows}, indent=1) + "\n")


def _kinds(args: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Callable[[], Case], int]]:
    yield "recipes", lambda: partial(recipe_case, args.seed, scratch), args.recipes
    yield "logs", lambda: partial(log_case, args.seed, scratch), args.cases
    for stored in _left(args.left):
        yield stored.name, partial(folder_cases, stored, args.seed, scratch), args.cases


def _left(folder: Path) -> Iterator[Stored]:
    """The folders below one, by what they are; what is inside another is damaged with it, too."""
    for manifests in sorted(folder.rglob("manifests")):
        yield Stored(f"corpus {manifests.parent.relative_to(folder)}", manifests.parent, read_corpus)
    for job in sorted(folder.iterdir()):
        for config in sorted(job.rglob("config.json"))[:1]:
            yield Stored(f"encoder {config.parent.relative_to(folder)}", config.parent, read_encoder)
    for result in sorted(folder.glob("*/result.json")):
        job = json.loads(result.read_text())["job"]
        yield Stored(f"run of {job} {result.parent.relative_to(folder)}", result.parent, read_run)


def _row(name: str, case: Case, number: int) -> dict[str, Any]:
    """How often each outcome was, and an example of each that should never be."""
    found = list(outcomes(case, range(number)))
    counted = Counter(told.outcome for told in found)
    print(f"{name:40s} " + ", ".join(f"{count:,} {outcome}" for outcome, count in counted.items()), flush=True)
    wrong = {told.detail: told.number for told in found if told.outcome in _WRONG and told.detail}
    return {"cases": number, **{outcome: counted[outcome] for outcome in OUTCOMES}, "wrong": wrong}


if __name__ == "__main__":
    main()
