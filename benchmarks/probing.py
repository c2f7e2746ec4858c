"""What a linear probe reads of the users of ML-1M: the labels, the splits and the intervals that studies of it share.

Five splits of 3,624 users to learn from, 1,208 to validate on and 1,208 to test. AUC, of several classes the mean of
one against the rest. Differences are paired user by user; intervals are of the mean over the splits, whose test users
overlap by a fifth, so they are a little narrow.

Shapes: U users, F features, C classes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Sequences, sequences_of
from ray_userrep.evaluation.metrics import Measure, auc, resamples
from ray_userrep.evaluation.probe import Table, linear_probe

SPLITS, RESAMPLES = 5, 200
PARTS = (3624, 4832)


class Row(NamedTuple):
    """Features of all users, and whether the probe standardises them; `always`: at every share of the labels."""

    x_UF: Table
    standardise: bool
    always: bool = True


def read_users(corpus: Corpus, side: Sequence[str] = ()) -> tuple[Sequences, list[Any]]:
    """All users' whole histories, with these columns beside the items, and their ids."""
    buckets = [corpus.bucket(number, side) for number in corpus.buckets()]
    ids = [user for bucket in buckets for user in bucket.user_ids.to_pylist()]
    return Sequences.concat([sequences_of(bucket) for bucket in buckets]), ids


def labels_of(corpus: Corpus, ids: list[Any]) -> dict[str, NDArray[np.float64]]:
    """Class codes of each task, `[U]`."""
    users = {user["user_id"]: user for user in corpus.users().to_pylist()}
    ages = np.array([int(users[user]["age"]) for user in ids])
    columns = {name: [str(users[user][name]) for user in ids] for name in ("gender", "age", "occupation")}
    codes = {name: np.unique(values, return_inverse=True)[1].astype(float) for name, values in columns.items()}
    return codes | {"age 35 and over": (ages >= 35).astype(float)}


def splits(num_users: int) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Users to learn from, to validate on and to test."""
    for seed in range(SPLITS):
        yield tuple(np.split(np.random.default_rng(seed).permutation(num_users), PARTS))


def asked(row: Row, y_U: NDArray[np.float64], share: float, parts: tuple[NDArray[np.int64], ...]) -> dict[str, Any]:
    """The AUC of one row, and that of resamples of the test users."""
    fit, tune, test = parts
    num_classes = int(y_U.max()) + 1
    found = linear_probe(row.x_UF, y_U, fit[: round(len(fit) * share)], tune, test, num_classes, row.standardise)
    return judged(y_U[test], found)


def judged(truth_U: NDArray[np.float64], found_UC: NDArray[np.float64], measure: Measure = auc) -> dict[str, Any]:
    """The figure of what was predicted of test users, and that of resamples of them: the same for every row."""
    drawn = np.zeros(RESAMPLES)
    for rows, weights in resamples(np.random.default_rng(0), len(truth_U), RESAMPLES):
        drawn[rows] = measure.weighted(truth_U, found_UC, weights)
    return {"figure": measure(truth_U, found_UC), "drawn": drawn}


def difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """The mean difference over the splits with its interval."""
    drawn = np.mean([a["drawn"] - b["drawn"] for a, b in zip(ours, theirs, strict=True)], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = np.mean([a["figure"] - b["figure"] for a, b in zip(ours, theirs, strict=True)])
    return {"mean": float(mean), "low": float(low), "high": float(high)}
