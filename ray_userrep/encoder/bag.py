"""The order-free part of a user vector: a second vector an item, summed over a history with a weight, and scaled.

What describes a user over years is mostly what was taken at all, not in which order. A sum has no window: it is exact
however a history is cut, and a new day is added to it without reading the old ones again. It costs a second table as
long as the catalogue.

The scaling is that of tf-idf rows: a history's sum is divided by the length of its vector of weights, so that sums over
long and short histories come out of one size. Weights begin like idf and are trained; an item taken c times counts √c
times, as in sublinear tf.

Learned wide and kept narrow: a bag of 512 numbers holds more of a history than one of 128, also in its 128 principal
directions. These are rotated at random, so that each number carries its share of all of them: a model that brings every
input to one variance, as most do, would otherwise hear the least direction as loud as the first.

Shapes: T tokens, B windows, U users, V items, E width of the bag, F numbers kept of it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.items.tables import IdItems
from ray_userrep.encoder.readout import window_sums
from ray_userrep.feed.batch import Batch


class Bag(nn.Module):
    """Weighted sums over windows of a trained vector an item, and the map from a history's to what is kept of it."""

    def __init__(self, num_items: int, width: int, kept: int, counts_V: NDArray[np.int64] | None) -> None:
        super().__init__()
        start_VE1 = torch.randn(num_items, width + 1) * width**-0.5
        if counts_V is not None:  # none where weights are loaded
            start_VE1[:, -1] = torch.from_numpy(np.log1p(counts_V.max(initial=1) / counts_V.clip(min=1)))
        self.items = IdItems(num_items, width + 1, start_VE1)
        self.width = width
        self.map = KeptDirections(width, kept)

    def forward(self, batch: Batch) -> Tensor:
        """What each window adds to its user's weighted sum, and last to the sum of squared weights, `[B, E + 1]`."""
        rows_TE1 = self.items(batch.values_T.clamp(min=0))
        weights_T1 = rows_TE1[:, -1:] * (batch.values_T >= 0)[:, None]  # hidden items add nothing
        return window_sums(torch.cat([rows_TE1[:, :-1] * weights_T1, weights_T1.square()], 1), batch.offsets_B1)


class KeptDirections(nn.Module):
    """The linear map from a bag to what is kept of it: no gradient, but fitted once the items have learned."""

    def __init__(self, width: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.weight = nn.Parameter(torch.eye(kept, width), requires_grad=False)

    def forward(self, bags_BE: Tensor) -> Tensor:
        """User vectors, `[B, F]`."""
        return F.linear(bags_BE, self.weight)


def scaled_bag(sums_BE1: Tensor) -> Tensor:
    """Bags of one size from what `Bag` adds up, `[B, E]`; zeros where nothing was added."""
    return sums_BE1[:, :-1] / sums_BE1[:, -1:].clamp(min=1e-12).sqrt()


class Moments:
    """Sums over users' bags, from which their principal directions are found without holding them."""

    def __init__(self, width: int) -> None:
        self.num_users = 0
        self._sum_E = np.zeros(width)
        self._products_EE = np.zeros((width, width))

    def add(self, bags_UE: NDArray[np.float32]) -> None:
        """Take in some users."""
        self.num_users += len(bags_UE)
        self._sum_E += bags_UE.sum(0, dtype=np.float64)
        self._products_EE += bags_UE.T.astype(np.float64) @ bags_UE

    def principal_map(self, kept: int) -> tuple[Tensor, float]:
        """The directions of the largest variance in a fixed random rotation, `[F, E]`, and their mean deviation."""
        mean_E = self._sum_E / max(1, self.num_users)
        covariance_EE = self._products_EE / max(1, self.num_users) - np.outer(mean_E, mean_E)
        variances_E, directions_EE = np.linalg.eigh(covariance_EE)
        directions_EF, deviation = directions_EE[:, ::-1][:, :kept], variances_E[::-1][:kept].clip(min=0).mean() ** 0.5
        # A direction has no sign of its own: its largest number is made positive.
        largest_F = np.abs(directions_EF).argmax(0)
        directions_EF = directions_EF * np.sign(directions_EF[largest_F, np.arange(kept)])
        rotation_FF, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(kept, kept)))
        return torch.from_numpy((directions_EF @ rotation_FF).T.astype(np.float32)), float(deviation)
