"""The learning rate that is best at each size, among the ladder's own times the factors that were tried.

What is tuned is the backbone's rate; the items' is the same at every size. One amount of data serves for all, one in
the middle: short runs like rates that make long ones diverge, and the longest would cost as much as the study. Only
sizes that are held out on so much data are tried on less, and may be tuned worse for it: what is to be predicted must
not have been trained.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ray_userrep.scaling.study.grid import StudyPoint
from ray_userrep.scaling.study.point import TRAINED, PointResult


def tuned_factors(trials: Sequence[StudyPoint], results: Mapping[str, PointResult]) -> dict[int, float]:
    """The factor on the learning rate that had the lowest loss at each size."""
    best: dict[int, tuple[float, float]] = {}
    for point in trials:
        result = results[point.name]
        if result["outcome"] == TRAINED:
            best[point.size] = min(best.get(point.size, (np.inf, 1.0)), (result["loss"]["mean"], point.factor))
    return {size: factor for size, (_, factor) in best.items()}


def edge_warnings(tuned: Mapping[int, float], factors: Sequence[float]) -> list[str]:
    """What to know where the best factor may lie beyond those that were tried."""
    edges = {min(factors), max(factors)} if len(factors) > 1 else set()
    outer = [size for size, factor in tuned.items() if factor in edges]
    if not outer:
        return []
    tried = ", ".join(f"{factor:g}" for factor in sorted(factors))
    return [f"{len(outer)} of {len(tuned)} sizes learn best at an end of the rates tried (factors {tried}): try more"]
