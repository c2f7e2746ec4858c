"""A whole bag from a part of it: the user vector of some of a window's items predicts which items the window holds.

Or the next period from this one: the vector of the older part predicts the bag of the newer.

It is a denoising autoencoder through the full softmax (the multinomial family of Liang et al., WWW 2018, section 2.1,
without a prior): what is asked of the vector is everything that was taken, not what came next. Each window counts the
same, however long it is. With encoder.readout bag both maps are linear; the decoder has a table of its own, which
stays behind when the encoder is exported.

Shapes: B windows, N items of all of them, V items of the catalogue, F width of a user vector.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.augment import dropped, one_period
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.softmax import chunked_cross_entropy

_BAG, _OFFSETS = "bag", "bag_offsets"
_LOOK = 10  # apart from the looks of other objectives


class History(Objective):
    """The mean negative log-likelihood of a window's items, all or the newer ones, from the vector of the others."""

    parts = ("history",)

    def __init__(self, num_items: int, width: int, predict: Literal["all", "future"], hide: float) -> None:
        super().__init__()
        self.decoder = BagDecoder(num_items, width)
        self.lookahead = int(predict == "future")
        self._predict, self._hide = predict, hide

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """A part of each window, at least one item, with all of its items, or the rest, as the target."""
        if self._predict == "future":
            shown, asked = (one_period(batch, rng, look, 1 - self._hide) for look in (0, 1))
        else:
            shown, asked = dropped(batch, rng, _LOOK, self._hide), batch
        target = {_BAG: asked.values_T, _OFFSETS: asked.offsets_B1}
        return [replace(shown, labels=batch.labels | target)]

    def counts(self, views: list[Batch]) -> Tensor:
        (view,) = views
        return torch.tensor([float(view.num_users)]) * view.weight

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        return LossSum(
            self.decoder(encoder.learned(view), view.labels[_BAG], view.labels[_OFFSETS])[None] * view.weight
        )


class BagDecoder(nn.Module):
    """Logits of all items from a user vector, never held whole."""

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_items, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_items, 1))

    def forward(self, vectors_BF: Tensor, items_N: Tensor, offsets_B1: Tensor) -> Tensor:
        """Each window's mean cross-entropy over its items, summed over the windows."""
        table_VF = torch.cat([self.weight, self.bias], 1)
        vectors_BF = torch.cat([vectors_BF.float(), vectors_BF.new_ones(len(vectors_BF), 1)], 1)
        # Cross-entropy against one item of each bag gives the normaliser; from its logit to the mean one it is products
        # of vectors, so that no logits are made a second time.
        one_B = items_N[offsets_B1[:-1].long()]
        mean_BF = F.embedding_bag(items_N, table_VF, offsets_B1[:-1].long(), mode="mean")
        difference_BF = F.embedding(one_B, table_VF) - mean_BF
        return chunked_cross_entropy(vectors_BF, table_VF, one_B) + (vectors_BF * difference_BF).sum()
