"""Item losses over sampled negatives, and the samplers, which know how often they expect to draw an item.

Scores are made for the drawn items only; what that saves is paid with variance. All draw with replacement and once for
a global batch, or for a micro-batch where they draw from its targets: shared negatives cost one small matrix product
instead of one gather a token, and make the loss of neighbours correlate. A negative that is a token's target is left
out for that token.

Shapes: T tokens (targets), V items, D width, K negatives.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, identity_gather
from ray_userrep.objectives.rivals import rival_cross_entropy
from ray_userrep.objectives.softmax import ItemSoftmax

_DRAW, _BATCH_DRAW = 12, 13


class Sampler(ABC):
    """Draws negatives."""

    @abstractmethod
    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        """Item indices, `[K]`."""

    @abstractmethod
    def share(self, ids_K: Tensor) -> Tensor:
        """The chance that one draw gives each of these items, `[K]`."""


class TableSampler(Sampler):
    """Draws items by fixed weights; twelve bytes an item are held, the array that is given among them."""

    def __init__(self, weight_V: NDArray[np.float64]) -> None:
        weight_V /= weight_V.sum()
        self._share_V = torch.from_numpy(weight_V.astype(np.float32))
        self._cdf_V = np.cumsum(weight_V, out=weight_V)

    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        return self.at(torch.from_numpy(rng.uniforms(_DRAW, np.arange(num_negatives))))

    def at(self, draws_K: Tensor) -> Tensor:
        """The items that uniform numbers in [0, 1) stand for, `[K]`."""
        ids_K = np.searchsorted(self._cdf_V, draws_K.numpy(), side="right").clip(max=len(self._cdf_V) - 1)
        return torch.from_numpy(ids_K)

    def share(self, ids_K: Tensor) -> Tensor:
        return self._share_V[ids_K].double()


def by_counts(counts_V: NDArray[np.int64], alpha: float) -> TableSampler:
    """Items by their counts to the power alpha; 0 is uniform (Mikolov et al., NeurIPS 2013, use 0.75)."""
    known_V = np.maximum(counts_V, 1).astype(np.float64)
    return TableSampler(np.power(known_V, alpha, out=known_V))


class LogUniformSampler(Sampler):
    """Draws by the log-uniform (Zipfian) law over items by falling counts, the lower index first where they tie.

    The law is inverted as it is drawn from: nothing is held for the catalogue as long as items are numbered by falling
    counts, which they are until a log grows.
    """

    def __init__(self, counts_V: NDArray[np.int64]) -> None:
        self._num_items, self._scale = len(counts_V), math.log(len(counts_V) + 1)
        self._item_of_V: Tensor | None = None
        if (counts_V[1:] > counts_V[:-1]).any():
            self._item_of_V = torch.from_numpy(np.argsort(-counts_V, kind="stable"))
            self._rank_of_V = torch.argsort(self._item_of_V)

    def draw(self, rng: Draws, num_negatives: int, targets_T: Tensor) -> Tensor:
        draws_K = torch.from_numpy(rng.uniforms(_DRAW, np.arange(num_negatives)))
        rank_K = torch.expm1(draws_K * self._scale).long().clamp(max=self._num_items - 1)
        return rank_K if self._item_of_V is None else self._item_of_V[rank_K]

    def share(self, ids_K: Tensor) -> Tensor:
        rank_K = ids_K if self._item_of_V is None else self._rank_of_V[ids_K]
        return torch.log1p(1 / (rank_K.double() + 1)) / self._scale


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


NEGATIVES, LOG_EXPECTED = "negatives", "log_expected"


class Drawn(NamedTuple):
    """The negatives, their vectors, and the log of how often each is expected among the draws."""

    ids_K: Tensor
    vectors_KD: Tensor
    log_expected_K: Tensor


class _Sampled(ItemSoftmax):
    def __init__(self, sampler: Sampler, num_negatives: int) -> None:
        super().__init__()
        self._sampler = sampler
        self._num_negatives = num_negatives

    def sample(self, rng: Draws, targets_T: Tensor) -> dict[str, Tensor]:
        ids_K = self._sampler.draw(rng, self._num_negatives, targets_T)
        return {NEGATIVES: ids_K, LOG_EXPECTED: (self._sampler.share(ids_K) * self._num_negatives).log().float()}

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        negatives_K = view.labels[NEGATIVES]
        positive_T = (states_TD.float() * encoder.items(targets_T).float()).sum(-1)
        drawn = Drawn(negatives_K, encoder.items(negatives_K), view.labels[LOG_EXPECTED])
        return self.loss(positive_T, states_TD, targets_T, drawn)

    @abstractmethod
    def loss(self, positive_T: Tensor, states_TD: Tensor, targets_T: Tensor, drawn: Drawn) -> Tensor:
        """Summed over tokens, float32."""


class SampledSoftmax(_Sampled):
    """Cross-entropy over the target and the negatives.

    The log of their expected number of draws is taken off the negatives' scores (Bengio & Senécal 2008). The target is
    there for certain, so that nothing is taken off its own: the normaliser is unbiased, and the loss goes to full
    cross-entropy as K grows.
    """

    def loss(self, positive_T: Tensor, states_TD: Tensor, targets_T: Tensor, drawn: Drawn) -> Tensor:
        return rival_cross_entropy(
            positive_T, states_TD, drawn.vectors_KD, targets_T, drawn.ids_K, -drawn.log_expected_K
        )


class BinaryCrossEntropy(_Sampled):
    """Targets against negatives one by one; the target's term is raised to the power beta (gBCE).

    `beta` 1 is plain binary cross-entropy (Kang & McAuley, ICDM 2018); gBCE sets it from the share of items sampled
    and a calibration t, which undoes the overconfidence that sampling brings (Petrov & Macdonald, RecSys 2023, eq. 9).
    """

    def __init__(self, sampler: Sampler, num_negatives: int, beta: float) -> None:
        super().__init__(sampler, num_negatives)
        self._beta = beta

    def loss(self, positive_T: Tensor, states_TD: Tensor, targets_T: Tensor, drawn: Drawn) -> Tensor:
        is_hit_TK = targets_T[:, None] == drawn.ids_K
        per_negative_TK = F.softplus((states_TD @ drawn.vectors_KD.T).float()).masked_fill(is_hit_TK, 0.0)
        return self._beta * F.softplus(-positive_T).sum() + per_negative_TK.sum()


def gbce_beta(num_negatives: int, num_items: int, calibration: float) -> float:
    """The power that calibrates sampled scores: 1 at t = 0, the sampled share of the catalogue at t = 1."""
    share = min(1.0, num_negatives / max(1, num_items - 1))  # a catalogue of one item has no negatives
    return share * (calibration * (1 - 1 / share) + 1 / share)
