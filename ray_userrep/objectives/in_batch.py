"""Item losses whose negatives are the other targets of the batch, and losses over cosines.

The batch's items are looked up anyway, so that negatives cost one matrix product, whatever makes item vectors and
however many domains there are; they come as often as items are popular, which nothing corrects here
(`SampledSoftmax` with the in-batch sampler does).

Shapes: T tokens of this rank, G targets of all ranks, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import TARGET_USERS, Draws, Gather, identity_gather
from ray_userrep.objectives.hard import Choice, hardest
from ray_userrep.objectives.softmax import ItemSoftmax


class InBatchSoftmax(ItemSoftmax):
    """Cross-entropy of a target against the targets of all ranks that are another item (UniSRec, Hou et al., KDD 2022).

    With `num_hard` only so many count, of other users, chosen for each state (UserBERT, Wu et al. 2021).
    """

    def __init__(self, num_hard: int | None, choose: Choice = hardest) -> None:
        super().__init__()
        self._num_hard, self._choose = num_hard, choose

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        items_GD, begin = gather(encoder.items(targets_T))
        targets_G, _ = gather(targets_T)
        is_filler_G, _ = gather(torch.full_like(targets_T, view.weight == 0))
        own_T = begin + torch.arange(len(targets_T), device=targets_T.device)
        logits_TG = (states_TD @ items_GD.T).float()
        is_negative_TG = (targets_T[:, None] != targets_G) & (is_filler_G == 0)
        if self._num_hard is not None:
            users_T = view.labels[TARGET_USERS]
            is_negative_TG &= users_T[:, None] != gather(users_T)[0]
            is_negative_TG = self._choose(logits_TG, is_negative_TG, own_T, self._num_hard)
        logits_TG = logits_TG.masked_fill(~is_negative_TG.scatter(1, own_T[:, None], True), float("-inf"))
        return F.cross_entropy(logits_TG, own_T, reduction="sum")


class Cosine(ItemSoftmax):
    """Another softmax over cosines and a temperature; the encoder's items have length one already."""

    def __init__(self, inner: ItemSoftmax, temperature: float) -> None:
        super().__init__()
        self.inner = inner
        self._temperature = temperature

    def sample(self, rng: Draws, targets_T: Tensor) -> dict[str, Tensor]:
        return self.inner.sample(rng, targets_T)

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        scaled_TD = F.normalize(states_TD.float(), dim=-1) / self._temperature
        loss: Tensor = self.inner(scaled_TD.to(states_TD.dtype), targets_T, encoder, view, gather)
        return loss
