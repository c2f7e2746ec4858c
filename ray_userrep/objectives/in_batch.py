"""Item loss whose negatives are the other targets of the batch, and the choice of hard negatives among candidates.

The batch's items are looked up anyway, so that negatives cost one matrix product, whatever makes item vectors and
however many domains there are; they come as often as items are popular, which nothing corrects here (`SampledSoftmax`
with the in-batch sampler does).

Hard negatives teach more a negative than random ones, and are wrong more often. The very hardest have what the truth
has in common with them trained away: an encoder that knows nothing yet never starts (measured: UserBERT on
MovieLens-1M, also with three quarters of a batch). Those just below the truth leave it something to gain.

Shapes: T tokens of this rank, N anchors, G candidates (targets of all ranks), D width.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import TARGET_USERS, Gather, identity_gather
from ray_userrep.objectives.rivals import batch_cross_entropy
from ray_userrep.objectives.softmax import ItemSoftmax


class Choice(Protocol):
    """Picks so many of each anchor's negatives, all where it has fewer, `[N, G]`; `own_N` is where its truth stands."""

    def __call__(self, scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor: ...


def hardest(scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor:
    """Those that score highest (UserBERT's, Wu et al. 2021, within the batch)."""
    return _first(scores_NG.detach(), is_negative_NG, number)


def semi_hard(scores_NG: Tensor, is_negative_NG: Tensor, own_N: Tensor, number: int) -> Tensor:
    """Those that score highest below the truth, then the lowest above it (Schroff et al., CVPR 2015, section 3.2)."""
    above_NG = (scores_NG - scores_NG.gather(1, own_N[:, None])).detach()
    last = 2 * above_NG.abs().max()
    return _first(torch.where(above_NG > 0, -above_NG - last, above_NG), is_negative_NG, number)


def _first(keys_NG: Tensor, is_negative_NG: Tensor, number: int) -> Tensor:
    place_NK = keys_NG.masked_fill(~is_negative_NG, float("-inf")).topk(min(number, keys_NG.shape[1]), 1).indices
    return is_negative_NG & torch.zeros_like(is_negative_NG).scatter(1, place_NK, True)


class InBatchSoftmax(ItemSoftmax):
    """Cross-entropy of a target against the targets of all ranks that are another item (UniSRec, Hou et al., KDD 2022).

    With `num_hard` only so many count, of other users, chosen for each state (UserBERT, Wu et al. 2021).
    """

    looks_across = True

    def __init__(self, num_hard: int | None, choose: Choice = hardest) -> None:
        super().__init__()
        self._num_hard, self._choose = num_hard, choose

    def forward(
        self, states_TD: Tensor, targets_T: Tensor, encoder: UserEncoder, view: Batch, gather: Gather = identity_gather
    ) -> Tensor:
        items_TD = encoder.items(targets_T)
        if self._num_hard is None:
            return batch_cross_entropy(states_TD, items_TD, targets_T, view.weight == 0, gather)
        items_GD, begin = gather(items_TD)
        targets_G, _ = gather(targets_T)
        is_filler_G, _ = gather(torch.full_like(targets_T, view.weight == 0))
        users_T, own_T = view.labels[TARGET_USERS], begin + torch.arange(len(targets_T), device=targets_T.device)
        logits_TG = (states_TD @ items_GD.T).float()
        is_negative_TG = (targets_T[:, None] != targets_G) & (is_filler_G == 0)
        is_negative_TG &= users_T[:, None] != gather(users_T)[0]
        is_negative_TG = self._choose(logits_TG, is_negative_TG, own_T, self._num_hard)
        logits_TG = logits_TG.masked_fill(~is_negative_TG.scatter(1, own_T[:, None], True), float("-inf"))
        return F.cross_entropy(logits_TG, own_T, reduction="sum")
