"""Where negatives come from; each sampler knows how often it expects to draw an item, which the loss corrects for.

All draw with replacement and once for a global batch, or for a micro-batch where they draw from its targets: shared
negatives cost one small matrix product instead of one gather a token, and make the loss of neighbours correlate.

Shapes: T targets, V items, K negatives.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.objectives.base import Draws

_TABLE_DRAW, _BATCH_DRAW = 12, 13


class Sampler(ABC):
    """Draws negatives."""

    @abstractmethod
    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        """Item indices, `[K]`."""

    @abstractmethod
    def share(self, ids_K: Tensor) -> Tensor:
        """The chance that one draw gives each of these items, `[K]`."""


class TableSampler(Sampler):
    """Draws items by fixed weights."""

    def __init__(self, weight_V: NDArray[np.float64]) -> None:
        share_V = weight_V / weight_V.sum()
        self._cdf_V = np.cumsum(share_V)
        self._share_V = torch.from_numpy(share_V)

    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        draws_K = rng.uniforms(_TABLE_DRAW, np.arange(num_negatives))
        ids_K = np.searchsorted(self._cdf_V, draws_K, side="right").clip(max=len(self._cdf_V) - 1)
        return torch.from_numpy(ids_K)

    def share(self, ids_K: Tensor) -> Tensor:
        return self._share_V[ids_K]


def by_counts(counts_V: NDArray[np.int64], alpha: float) -> TableSampler:
    """Items by their counts to the power alpha; 0 is uniform (Mikolov et al., NeurIPS 2013, use 0.75)."""
    return TableSampler(np.maximum(counts_V, 1).astype(np.float64) ** alpha)


def log_uniform(counts_V: NDArray[np.int64]) -> TableSampler:
    """Items by rank: the log-uniform (Zipfian) law over falling counts, the lower index first where they tie."""
    rank_V = np.empty(len(counts_V))
    rank_V[np.argsort(-counts_V, kind="stable")] = np.arange(len(counts_V))
    return TableSampler(np.log((rank_V + 2) / (rank_V + 1)))


class InBatchSampler(Sampler):
    """Draws from the targets themselves, which come about as often as items are trained on (Yi et al., RecSys 2019)."""

    def __init__(self, counts_V: NDArray[np.int64]) -> None:
        known_V = np.maximum(counts_V, 1)
        self._share_V = torch.from_numpy(known_V / known_V.sum())

    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        draws_K = torch.from_numpy(rng.uniforms(_BATCH_DRAW, np.arange(num_negatives)))
        return targets_T[(draws_K * len(targets_T)).long()]

    def share(self, ids_K: Tensor) -> Tensor:
        return self._share_V[ids_K]


class MixedSampler(Sampler):
    """Draws one half from each of two samplers (mixed negative sampling, Yang et al., WWW 2020)."""

    def __init__(self, first: Sampler, second: Sampler) -> None:
        self._first, self._second = first, second

    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        half = num_negatives // 2
        first, second = self._first.draw(rng, half, targets_T), self._second.draw(rng, num_negatives - half, targets_T)
        return torch.cat([first, second])

    def share(self, ids_K: Tensor) -> Tensor:
        return (self._first.share(ids_K) + self._second.share(ids_K)) / 2
