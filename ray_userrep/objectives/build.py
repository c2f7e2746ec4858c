"""From an objective's config to the objective."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.config import AutoregressiveConfig, FullSoftmaxConfig
from ray_userrep.objectives.softmax import FullSoftmax, SampledSoftmax


def build_objective(config: AutoregressiveConfig, train_counts: Callable[[], NDArray[np.int64]]) -> Objective:
    """The objective; items are counted only where its negatives follow their counts."""
    softmax = config.softmax
    if isinstance(softmax, FullSoftmaxConfig):
        return Autoregressive(FullSoftmax())
    return Autoregressive(SampledSoftmax(train_counts(), softmax.num_negatives, softmax.alpha))
