"""Item losses over sampled negatives: softmax with logQ correction, binary cross-entropy, and its generalised form.

Scores are made for the drawn items only; what that saves is paid with variance. A negative that is a token's target is
left out for that token.

Shapes: T tokens, D width, K negatives.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, identity_gather
from ray_userrep.objectives.samplers import Sampler
from ray_userrep.objectives.softmax import ItemSoftmax

NEGATIVES, LOG_EXPECTED = "negatives", "log_expected"


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
        negative_TK = (states_TD @ encoder.items(negatives_K).T).float()
        return self.loss(positive_T, negative_TK, targets_T[:, None] == negatives_K, view.labels[LOG_EXPECTED])

    @abstractmethod
    def loss(self, positive_T: Tensor, negative_TK: Tensor, is_hit_TK: Tensor, log_expected_K: Tensor) -> Tensor:
        """Summed over tokens, float32."""


class SampledSoftmax(_Sampled):
    """Cross-entropy over the target and the negatives.

    The log of their expected number of draws is taken off the negatives' scores (Bengio & Senécal 2008). The target is
    there for certain, so that nothing is taken off its own: the normaliser is unbiased, and the loss goes to full
    cross-entropy as K grows.
    """

    def loss(self, positive_T: Tensor, negative_TK: Tensor, is_hit_TK: Tensor, log_expected_K: Tensor) -> Tensor:
        negative_TK = (negative_TK - log_expected_K).masked_fill(is_hit_TK, float("-inf"))
        logits = torch.cat([positive_T[:, None], negative_TK], 1)
        return F.cross_entropy(logits, torch.zeros_like(positive_T, dtype=torch.long), reduction="sum")


class BinaryCrossEntropy(_Sampled):
    """Targets against negatives one by one; the target's term is raised to the power beta (gBCE).

    `beta` 1 is plain binary cross-entropy (Kang & McAuley, ICDM 2018); gBCE sets it from the share of items sampled
    and a calibration t, which undoes the overconfidence that sampling brings (Petrov & Macdonald, RecSys 2023, eq. 9).
    """

    def __init__(self, sampler: Sampler, num_negatives: int, beta: float) -> None:
        super().__init__(sampler, num_negatives)
        self._beta = beta

    def loss(self, positive_T: Tensor, negative_TK: Tensor, is_hit_TK: Tensor, log_expected_K: Tensor) -> Tensor:
        per_negative_TK = F.softplus(negative_TK).masked_fill(is_hit_TK, 0.0)
        return self._beta * F.softplus(-positive_T).sum() + per_negative_TK.sum()


def gbce_beta(num_negatives: int, num_items: int, calibration: float) -> float:
    """The power that calibrates sampled scores: 1 at t = 0, the sampled share of the catalogue at t = 1."""
    share = min(1.0, num_negatives / (num_items - 1))
    return share * (calibration * (1 - 1 / share) + 1 / share)
