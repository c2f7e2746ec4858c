"""Figures by how often the item occurs that is to be found: the head, the torso and the tail of the catalogue.

A system may win on the few items that everybody takes and lose on all others, which one mean does not show. Items are
counted over the whole corpus, the held-out interactions among them: that takes no pass over the log, is the same for
every split and system, and moves an item by no more than the users whose last one it was.

Shapes: V items, W targets.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ray_userrep.evaluation.metrics import ndcg, user_means
from ray_userrep.evaluation.statistics import HEADLINE, mean_interval
from ray_userrep.recipe.evaluation import EvaluationConfig

SLICES = ("head", "torso", "tail")
_UP_TO = (0.1, 0.5)  # shares of the items, by falling counts, that head and torso end at


def slice_of_items(counts_V: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place in `SLICES` of each item: the tenth that occurs most, the rest of that half, the other half, `[V]`."""
    rank_V = np.empty(len(counts_V), np.int64)
    rank_V[np.argsort(-counts_V, kind="stable")] = np.arange(len(counts_V))
    return np.searchsorted(np.ceil(np.array(_UP_TO) * len(counts_V)), rank_V, side="right").astype(np.int64)


def by_slice(
    slices_W: NDArray[np.int64],
    systems: Mapping[str, NDArray[np.int64]],
    users_W: NDArray[np.int64],
    config: EvaluationConfig,
) -> dict[str, dict[str, Any]]:
    """NDCG@10 of each system over the targets of each slice that has any, with intervals over their users.

    `{"head": {"targets", "metrics": {system: {"ndcg@10": {"mean", "low", "high"}}}}, …}`.
    """
    found = {}
    for place, name in enumerate(SLICES):
        here = np.flatnonzero(slices_W == place)
        if len(here):
            metrics = {system: _headline(ranks_W[here], users_W[here], config) for system, ranks_W in systems.items()}
            found[name] = {"targets": len(here), "metrics": metrics}
    return found


def _headline(
    ranks_W: NDArray[np.int64], users_W: NDArray[np.int64], config: EvaluationConfig
) -> dict[str, dict[str, float]]:
    values_U = user_means(ndcg(ranks_W, 10), users_W)
    return {HEADLINE: mean_interval(values_U, config.num_bootstrap, config.confidence)._asdict()}
