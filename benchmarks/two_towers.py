"""Two towers with the contrast of items: which masking, which items are drawn, and what it does for rare ones.

    python benchmarks/two_towers.py --data ../shared/data [--runs runs/two_towers] [--only beauty] [--seeds 5]
        [--epochs 8]

Amazon Beauty with nine columns, and a log whose columns come in four pairs that tell the same: what one view hides the
other tells all the same, unless both of a pair are hidden; there the contrast weighs as much as the main loss. Recipe
`two_towers` without the contrast, and with it by masking (none, random, correlated) and by how items are drawn (evenly,
as in the log); `sasrec` beside it. NDCG@10 overall and on the tail of the catalogue, differences paired over users and
seeds. A run that is there is not made again. `--max-steps` cuts training short, to try the script: its figures stay in
the folder of the runs.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.evaluation.kept import read_ranks
from ray_userrep.evaluation.metrics import Figures, mean_of, ndcg, user_means
from ray_userrep.evaluation.slices import SLICES
from ray_userrep.evaluation.statistics import estimate, paired
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.two_towers import two_towers
from ray_userrep.training.runs import environment

COLUMNS = {
    "beauty": (
        ("brand", "category.2", "category.3", "category.4", "category.5", "text", "sales_type"),
        ("price", "sales_rank"),
    ),
    "planted": (tuple(f"{name}{copy}" for name in "abcd" for copy in "12"), ()),
}
WEIGHT = {"beauty": 0.1, "planted": 1.0}  # of the contrast beside the main loss
DRAWN = {"uniform": 0.0, "log": 1.0}
CONTRASTS = {f"{masking}, {drawn}": (masking, drawn) for masking in ("none", "random", "correlated") for drawn in DRAWN}
OFF, OTHER = "no contrast", "sasrec"
PAIRS = [
    *((name, OFF) for name in CONTRASTS),
    *((f"correlated, {drawn}", f"{masking}, {drawn}") for drawn in DRAWN for masking in ("random", "none")),
    *((f"{masking}, uniform", f"{masking}, log") for masking in ("none", "random", "correlated")),
    ("correlated, uniform", OTHER),
]
NUM_USERS, NUM_ITEMS, LENGTH, NUM_TYPES, NUM_WORDS, PAIRED = 4000, 3000, 12, 150, 4, "abcd"
FIRST, DAY = 1_600_000_000, 86_400
_mean = mean_of(lambda _, values_U: values_U)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="folder that holds a folder for each data set")
    arguments.add_argument("--only", default="", help="logs whose name starts so")
    arguments.add_argument("--runs", default="runs/two_towers")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--epochs", type=float, default=8.0, help="passes over a log, of every arm")
    arguments.add_argument("--max-steps", type=int)
    options = arguments.parse_args()
    runs = storage.absolute(options.runs)
    write_planted(Path(runs) / "planted-log")
    logs = {"beauty": storage.join(options.data, "amazon-2014-Beauty"), "planted": storage.join(runs, "planted-log")}
    for name, log in logs.items():
        if name.startswith(options.only):
            study(
                name, storage.absolute(log), storage.join(runs, name), options.seeds, options.epochs, options.max_steps
            )


def study(name: str, log: str, runs: str, seeds: int, epochs: float, max_steps: int | None) -> None:
    """Every arm in every seed, and what they come to."""
    recipes = arms(name, epochs, max_steps)
    for arm, recipe in recipes.items():
        storage.write_json(storage.join(runs, f"{arm}.json"), recipe.model_dump(mode="json"))
    for seed, arm in product(range(seeds), recipes):  # so that what is cut short has whole seeds
        run = run_of(runs, arm, seed)
        if not storage.exists(storage.join(run, "result.json")):
            place, corpus = storage.join(runs, f"{arm}.json"), storage.join(runs, "corpus")
            job("pretrain", "--recipe", place, "--logs", log, "--corpus", corpus, "--run", run, "--seed", str(seed))
    found = {"environment": environment(False), "epochs": epochs} | measured(runs, list(recipes), seeds)
    text = json.dumps(found, indent=1)
    kept = RESULTS if max_steps is None else Path(runs)
    (kept / f"two_towers_{name}.json").write_text(text + "\n")
    print(text)


def arms(name: str, epochs: float, max_steps: int | None) -> dict[str, Recipe]:
    """The recipes that are compared, by name; all but `sasrec` differ in the contrast alone."""
    columns, numbers = COLUMNS[name]
    raw: dict[str, Any] = two_towers().model_dump()
    raw["encoder"]["items"] |= {"columns": columns, "numbers": numbers}
    main, contrast = raw["objective"]["parts"]
    found = {OFF: raw | {"objective": main["objective"]}, OTHER: sasrec().model_dump()}
    for arm, (masking, drawn) in CONTRASTS.items():
        chosen = contrast["objective"] | {"masking": masking, "alpha": DRAWN[drawn]}
        second = contrast | {"weight": WEIGHT[name], "objective": chosen}
        found[arm] = raw | {"objective": {"kind": "weighted", "parts": [main, second]}}
    for one in found.values():
        passes = {"epochs": epochs, "eval_every": epochs / 2, "patience": None}
        one["train"] = one["train"] | passes | {"max_steps": max_steps, "cpus_per_worker": 1}
        one["evaluation"] = one["evaluation"] | {"baselines": False}
    return {arm: Recipe.model_validate(one) for arm, one in found.items()}


def run_of(runs: str, arm: str, seed: int) -> str:
    return storage.join(runs, f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}")


def measured(runs: str, names: Sequence[str], seeds: int) -> dict[str, Any]:
    """NDCG@10 of every arm by slice with its interval, and the differences that are asked for."""
    found = {arm: figures([run_of(runs, arm, seed) for seed in range(seeds)]) for arm in names}
    zeros = {part: np.zeros(len(own[0])) for part, own in found[OFF].items()}
    return {
        "seeds": seeds,
        "users": {part: len(zeros_U) for part, zeros_U in zeros.items()},
        "ndcg@10": {
            arm: {part: estimate(_mean, zeros[part], own, 2000, 0.95)._asdict() for part, own in parts.items()}
            for arm, parts in found.items()
        },
        "differences": {
            f"{a} over {b}": {
                part: paired(_mean, zeros[part], found[a][part], found[b][part], 2000, 0.95)._asdict() for part in zeros
            }
            for a, b in PAIRS
        },
    }


def figures(runs: Sequence[str]) -> dict[str, list[Figures]]:
    """NDCG@10 of each user of all targets, and of those in each slice, a run an entry."""
    parts: dict[str, list[Figures]] = {}
    for run in runs:
        ranks = read_ranks(run)
        values_W = ndcg(ranks.by_system["encoder"], 10)
        parts.setdefault("all", []).append(user_means(values_W, ranks.users_W))
        for number, name in enumerate(SLICES):
            here = ranks.slices_W == number
            parts.setdefault(name, []).append(user_means(values_W[here], ranks.users_W[here]))
    return parts


def write_planted(folder: Path) -> None:
    """A log of users with one or two tastes, and items whose columns a1 and a2, b1 and b2, … tell the same.

    All columns tell an item's type, in one of a few words that are the type's own. Few users care for most types, so
    that little of the log says which words mean the same; the catalogue does, but not a column beside its copy.
    """
    rng = np.random.default_rng(0)
    type_V = np.repeat(np.arange(NUM_TYPES), NUM_ITEMS // NUM_TYPES)
    columns: dict[str, list[str]] = {}
    for name in PAIRED:
        value_V = type_V * NUM_WORDS + rng.integers(NUM_WORDS, size=NUM_ITEMS)
        for copy in "12":
            codes = rng.permutation(NUM_TYPES * NUM_WORDS)[value_V]
            columns[f"{name}{copy}"] = [f"{name}{copy}-{code}" for code in codes]
    of_type = [np.flatnonzero(type_V == one) for one in range(NUM_TYPES)]
    walks = [walk(rng, of_type) for _ in range(NUM_USERS)]
    taken = [(user, item, FIRST + DAY * day) for user, items in enumerate(walks) for day, item in enumerate(items)]
    write_atomic(folder / "planted.inter", ("user_id:token", "item_id:token", "timestamp:float"), taken)
    rows = [(item, *(values[item] for values in columns.values())) for item in range(NUM_ITEMS)]
    write_atomic(folder / "planted.item", ("item_id:token", *(f"{name}:token" for name in columns)), rows)


def write_atomic(file: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """One of RecBole's atomic files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(map(str, row)) + "\n" for row in (header, *rows)))


def walk(rng: np.random.Generator, of_type: Sequence[Any]) -> list[int]:
    """The items of one user: mostly of two types, one of which is often a frequent one."""
    weights = 1 / (1 + np.arange(NUM_TYPES))
    tastes = rng.choice(NUM_TYPES, 2, replace=False, p=weights / weights.sum())
    types = np.where(rng.random(LENGTH) < 0.9, rng.choice(tastes, LENGTH), rng.integers(NUM_TYPES, size=LENGTH))
    return [int(rng.choice(of_type[one])) for one in types]


if __name__ == "__main__":
    main()
