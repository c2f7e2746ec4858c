"""The vector of `universal` on tasks beyond ML-1M's attributes, each beside the best of everything simple.

    python benchmarks/vector_tasks.py --data ../shared/data [--runs runs/vector_tasks] [--only return]

Labels: the country of Online Retail's customers, whether they come back within 30 days, the age of Book-Crossing's
readers. A linear probe on the frozen vector, its penalty chosen on validation users, beside linear models of tf-idf
counts and their SVD, and boosted trees on item counts, on recency, frequency and tempo, and on these with an SVD; five
splits of 60 / 20 / 20 % of the users, with a tenth of the labels and with all. Pretraining ends where what is known of
a user ends. Next items: users who are in no part of pretraining (split cold_user), beside the tuned baselines of the
project's own evaluation. Numbers go to benchmarks/results/vector_tasks.json, a task at a time.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from probing import SPLITS, difference, judged
from running import RESULTS, job

from ray_userrep import storage
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.store import Corpus, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences, read_known
from ray_userrep.evaluation.metrics import auc, r2
from ray_userrep.evaluation.probe import linear_probe
from ray_userrep.evaluation.profile import Attribute, read_attributes, read_vectors
from ray_userrep.evaluation.simple_vectors import tempo
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import ReturnTaskConfig
from ray_userrep.report.results import load_result
from ray_userrep.training.runs import environment
from ray_userrep.transfer.tasks.columns import read_columns
from ray_userrep.transfer.tasks.label_baselines import label_baselines
from ray_userrep.transfer.tasks.returning import return_labels

OURS, SHARES = "universal", (0.1, 1.0)
_TRAINING = ("--recipe", "universal", "--train.cpus_per_worker", "1", "--train.eval_every", "3")
_PASSES, _MORE_PASSES = ("--train.epochs", "12"), ("--train.epochs", "24")
_ONLINE_RETAIL = (*_TRAINING, "--evaluation.exclude_seen", "false")
_BEFORE_THE_LAST_MONTH = ("--split.rule", "global_time", "--split.valid_share", "0.05", "--split.test_share", "0.2")
_NEW_USERS = ("--split.rule", "cold_user", "--evaluation.baselines", "true")


class Case(NamedTuple):
    """A run's name, its log below the data, its options; the column that is asked for."""

    run: str
    log: str
    options: tuple[str, ...]
    column: str | None = None  # none: who comes back
    next_items: bool = False


CASES = {
    "country": Case("pretrained-online-retail", "online-retail", (*_ONLINE_RETAIL, *_PASSES), "country"),
    "return": Case(
        "pretrained-online-retail-by-time", "online-retail", (*_ONLINE_RETAIL, *_PASSES, *_BEFORE_THE_LAST_MONTH)
    ),
    "age": Case("pretrained-book-crossing", "book-crossing", (*_TRAINING, *_PASSES), "age"),
    "new users, Online Retail": Case(
        "new-users-online-retail", "online-retail", (*_ONLINE_RETAIL, *_MORE_PASSES, *_NEW_USERS), next_items=True
    ),
    "new users, ML-1M": Case("new-users-ml-1m", "ml-1m/ml-1m", (*_TRAINING, *_PASSES, *_NEW_USERS), next_items=True),
}


def pretrained(case: Case, options: argparse.Namespace) -> str:
    """The folder of a case's run, trained where it is not there."""
    run = storage.join(options.runs, case.run)
    if not storage.exists(storage.join(run, "result.json")):
        corpus = storage.join(options.runs, f"corpus-{case.log.split('/')[0]}")
        quiet = () if case.next_items else ("--evaluation.baselines", "false")
        job("pretrain", *case.options, *quiet, "--logs", f"{options.data}/{case.log}", "--corpus", corpus, "--run", run)
    return run


def labelled(case: Case, corpus: Corpus, split: Split) -> tuple[Sequences, Attribute, int]:
    """Users with a label, what is known of them, their labels, and the moment (us) at which that ends."""
    histories = read_known(corpus, split)
    if case.column is None:
        return histories, return_labels(corpus, split, histories, ReturnTaskConfig(days=30)), split.test_from
    users = corpus.users()
    assert users is not None, "the log has attributes"
    (attribute,) = read_attributes(users.select(["user_id", case.column]), histories.users_U)
    return histories, attribute, int(histories.times_N.max())


def asked(case: Case, run: str) -> dict[str, Any]:
    """Every row's figure at each share of the labels, and the vector over the best of the others."""
    recipe = Recipe.model_validate(load_result(run)["recipe"])
    corpus = open_corpus(str(recipe.corpus.uri))
    histories, attribute, end = labelled(case, corpus, resolve(recipe.split, corpus))
    has_any_U = histories.lengths_U[attribute.rows_U] > 0
    histories, y_U = histories.take(attribute.rows_U[has_any_U]), attribute.values_U[has_any_U]
    vectors_UF = read_vectors(UserEncoder.from_pretrained(storage.join(run, "encoder")), histories, end)
    measure, num_classes = (auc, len(attribute.classes)) if attribute.classes else (r2, 0)
    found: dict[str, Any] = {"users": len(y_U), "measure": attribute.headline, "shares": {}}
    for share in SHARES:
        rows: dict[str, list[dict[str, Any]]] = {}
        for fit, tune, test in splits(len(y_U)):
            parts = fit[: round(share * len(fit))], tune, test
            for name, predicted in predictions(histories, vectors_UF, y_U, parts, num_classes, corpus, end):
                rows.setdefault(name, []).append(judged(y_U[test], predicted, measure))
        found["shares"][f"{share:g}"] = compared(rows)
    return found


def predictions(
    histories: Sequences,
    vectors_UF: NDArray[np.float64],
    y_U: NDArray[np.float64],
    parts: tuple[NDArray[np.int64], ...],
    num_classes: int,
    corpus: Corpus,
    end: int,
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """What each row predicts of the test users."""
    rows, bounds = np.concatenate(parts), np.cumsum([len(part) for part in parts])[:2]
    some, none = histories.take(rows), read_columns(None, histories.users_U[rows], None, None)
    num_items = corpus.manifest.num_items
    yield from label_baselines(some, y_U[rows], bounds, num_classes, num_items, tempo(some, end), none).items()
    yield OURS, linear_probe(vectors_UF, y_U, *parts, num_classes, standardise=True)


def splits(num_users: int) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Users to learn from, to validate on and to test."""
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(num_users)
        yield tuple(np.split(order, [round(0.6 * num_users), round(0.8 * num_users)]))


def compared(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means over the splits, and the vector over the best of the simple rows."""
    means = {name: float(np.mean([one["figure"] for one in splits])) for name, splits in rows.items()}
    best = max((name for name in means if name != OURS), key=lambda name: means[name])
    rest = {name: difference(rows[OURS], splits) for name, splits in rows.items() if name != OURS}
    return {"rows": means, "differences": rest, "over": {"baseline": best, **rest[best]}}


def next_items(run: str) -> dict[str, Any]:
    """The encoder's NDCG@10 for users it never saw, and its difference to the best baseline."""
    result = load_result(run)
    rows = {name: one["ndcg@10"]["mean"] for name, one in result["baselines"].items()}
    over = result["over_best_baseline"]
    rows[OURS] = result["metrics"]["ndcg@10"]["mean"]
    return {
        "users": result["counts"]["test_users"],
        "measure": "ndcg@10",
        "shares": {"1": {"rows": rows, "over": over}},
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", default="../shared/data")
    arguments.add_argument("--runs", default="runs/vector_tasks")
    arguments.add_argument("--only", choices=CASES)
    options = arguments.parse_args()
    options.runs = storage.absolute(options.runs)
    place = RESULTS / "vector_tasks.json"
    report = json.loads(place.read_text()) if place.exists() else {}
    for name, case in CASES.items():
        if options.only in (None, name):
            run = pretrained(case, options)
            report[name] = (next_items(run) if case.next_items else asked(case, run)) | {"environment": environment()}
            place.write_text(json.dumps(report, indent=1) + "\n")
            for share, one in report[name]["shares"].items():
                rows = "  ".join(f"{row} {value:.4f}" for row, value in one["rows"].items())
                print(f"{name}  {share}  {rows}\n  over {one['over']}", flush=True)


if __name__ == "__main__":
    main()
