"""The order-free part of a user vector: a second vector an item, summed over a history with a weight, and scaled.

What describes a user over years is mostly what was taken at all, not in which order. A sum has no window: it is exact
however a history is cut, and a new day is added to it without reading the old ones again. It costs a second table as
long as the catalogue.

The scaling is that of tf-idf rows: a history's sum is divided by the length of its vector of weights, so that sums over
long and short histories come out of one size. Weights begin like idf and are trained; an item taken c times counts √c
times, as in sublinear tf.

Shapes: T tokens, B windows, V items, F width of the bag.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ray_userrep.encoder.items.tables import IdItems
from ray_userrep.encoder.readout import window_sums
from ray_userrep.feed.batch import Batch


class Bag(nn.Module):
    """Weighted sums over windows of a trained vector an item."""

    def __init__(self, num_items: int, width: int, counts_V: NDArray[np.int64] | None) -> None:
        super().__init__()
        start_VF1 = torch.randn(num_items, width + 1) * width**-0.5
        if counts_V is not None:  # none where weights are loaded
            start_VF1[:, -1] = torch.from_numpy(np.log1p(counts_V.max(initial=1) / counts_V.clip(min=1)))
        self.items = IdItems(num_items, width + 1, start_VF1)

    def forward(self, batch: Batch) -> Tensor:
        """What each window adds to its user's weighted sum, and last to the sum of squared weights, `[B, F + 1]`."""
        rows_TF1 = self.items(batch.values_T.clamp(min=0))
        weights_T1 = rows_TF1[:, -1:] * (batch.values_T >= 0)[:, None]  # hidden items add nothing
        return window_sums(torch.cat([rows_TF1[:, :-1] * weights_T1, weights_T1.square()], 1), batch.offsets_B1)


def scaled_bag(sums_BF1: Tensor) -> Tensor:
    """User vectors from what `Bag` adds up, `[B, F]`; zeros where nothing was added."""
    return sums_BF1[:, :-1] / sums_BF1[:, -1:].clamp(min=1e-12).sqrt()
