"""Look-alike retrieval: given a few users of a kind, how many of those whose vectors are nearest are of that kind.

Users are ranked by the cosine of their vector with the mean of the seed users' directions: nothing is fitted, so that
it judges the space itself. Intervals are over draws of seed users, and say nothing of other users.

Shapes: U users, S seed users to draw from, C candidates, D width, R draws.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from ray_userrep.evaluation.statistics import Interval

NUM_SEEDS, DEPTH = 10, 50
_NUM_DRAWS, _SEED = 20, 20_240_302

Vectors = NDArray[np.floating[Any]]


def look_alike_metrics(
    vectors: Mapping[str, Vectors], classes_U: NDArray[np.float64], num_pool: int, confidence: float
) -> dict[str, dict[str, Interval]]:
    """Average precision, precision and recall at 50 of each kind of vectors, `[U, D]`, averaged over classes.

    Seeds, ten a draw or all there are, come from the first `num_pool` users, candidates are the others. Classes that
    the one or the other lack are left out; every kind of vectors is asked with the same seeds.
    """
    rng = np.random.default_rng(_SEED)
    pool_S, truth_C = classes_U[:num_pool], classes_U[num_pool:]
    classes = [c for c in np.unique(pool_S) if 0 < (truth_C == c).sum() < len(truth_C)]
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in vectors}
    unit = {name: _directions(x_UD) for name, x_UD in vectors.items()}
    for _ in range(_NUM_DRAWS if classes else 0):
        per_class: dict[str, list[tuple[float, float, float]]] = {name: [] for name in vectors}
        for c in classes:
            of_kind = np.flatnonzero(pool_S == c)
            seeds = rng.choice(of_kind, min(NUM_SEEDS, len(of_kind)), replace=False)
            for name, x_UD in unit.items():
                per_class[name].append(_measure(x_UD[num_pool:] @ x_UD[seeds].mean(0), truth_C == c))
        for name, figures in per_class.items():
            found[name].append(np.mean(figures, axis=0))
    names = ("average precision", f"precision@{DEPTH}", f"recall@{DEPTH}")
    return {
        name: {metric: _interval(np.array(rows)[:, place], confidence) for place, metric in enumerate(names)}
        for name, rows in found.items()
        if rows
    }


def _measure(scores_C: NDArray[np.floating[Any]], is_alike_C: NDArray[np.bool_]) -> tuple[float, float, float]:
    hits = int(is_alike_C[np.argsort(-scores_C, kind="stable")[:DEPTH]].sum())
    precision = hits / min(DEPTH, len(scores_C))
    return float(average_precision_score(is_alike_C, scores_C)), precision, hits / int(is_alike_C.sum())


def _directions(x_UD: Vectors) -> Vectors:
    directions: Vectors = x_UD / np.maximum(np.linalg.norm(x_UD, axis=1, keepdims=True), 1e-12)
    return directions


def _interval(values_R: NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values_R.mean()), float(low), float(high))
