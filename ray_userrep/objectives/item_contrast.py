"""Two views of an item, each without some of its columns, should give one vector, and other items another.

What makes the items of a catalogue similar is learned from the catalogue as well as from the log, which says little of
those that are rare (Yao et al., CIKM 2021). The views are complementary: a column that one of them shows the other
hides, so that no value tells which two belong together. Where columns tell of each other, hiding one of a pair leaves
the answer in the other; so the columns that tell most of one drawn column are hidden with it.

Every interaction of the global batch brings one drawn item: how many there are, and which, does not depend on how the
batch is cut. Each is told from the drawn items of all workers that are another one, for a product as large as the
square of the batch. The encoder's user side has no part in it.

Shapes: N interactions of this rank, as many drawn items; G of all ranks, D width, F columns.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.items.features import feature_items
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws, Gather, LossSum, Objective, identity_gather
from ray_userrep.objectives.rivals import batch_cross_entropy
from ray_userrep.objectives.sampled import TableSampler

_ITEM_DRAW, _MASK_DRAW = 60, 64  # of the first column, and those after for the others
_ITEMS, _HIDDEN = "contrast_items", "contrast_hidden"
_TIE_BREAK = 1e-6


class ItemContrast(Objective):
    """InfoNCE of an item's view against its other view and those of other items.

    Columns of high `affinity_FF` are hidden together; where all have the same, which ones is drawn. Without it nothing
    is hidden, and items are only pushed apart.
    """

    parts = ("item_contrast",)
    looks_across = True

    def __init__(self, sampler: TableSampler, temperature: float, affinity_FF: Tensor | None) -> None:
        super().__init__()
        self._sampler, self._temperature = sampler, temperature
        self._affinity_FF = affinity_FF

    def views(self, batch: Batch, rng: Draws) -> list[Batch]:
        """The batch with drawn items, and which columns of each the first view hides."""
        items_N = self._sampler.at(rng.token_uniforms(_ITEM_DRAW, batch))
        labels = {_ITEMS: items_N} | ({} if self._affinity_FF is None else {_HIDDEN: self._hidden(batch, rng)})
        return [replace(batch, labels=batch.labels | labels)]

    def _hidden(self, batch: Batch, rng: Draws) -> Tensor:
        """For each item a drawn column and those most alike, half of all columns, `[N, F]`."""
        assert self._affinity_FF is not None
        num_columns = len(self._affinity_FF)
        draws_NF = torch.stack([rng.token_uniforms(_MASK_DRAW + place, batch) for place in range(num_columns)], 1)
        seed_N1 = draws_NF.argmax(1, keepdim=True)
        alike_NF = self._affinity_FF[seed_N1[:, 0]] + _TIE_BREAK * draws_NF
        alike_NF = alike_NF.scatter(1, seed_N1, float("inf"))
        first_NK = alike_NF.topk(num_columns // 2, 1).indices
        return torch.zeros_like(alike_NF, dtype=torch.bool).scatter(1, first_NK, True)

    def counts(self, views: list[Batch]) -> Tensor:
        return torch.tensor([views[0].num_tokens * views[0].weight], dtype=torch.float32)

    def forward(self, encoder: UserEncoder, views: list[Batch], gather: Gather = identity_gather) -> LossSum:
        (view,) = views
        items_N, hidden_NF, embedder = view.labels[_ITEMS], view.labels.get(_HIDDEN), feature_items(encoder.items)
        first_ND = F.normalize(embedder(items_N, hidden_NF).float(), dim=-1)
        second_ND = F.normalize(embedder(items_N, None if hidden_NF is None else ~hidden_NF).float(), dim=-1)
        loss = batch_cross_entropy(first_ND / self._temperature, second_ND, items_N, view.weight == 0, gather)
        return LossSum((loss * view.weight)[None])
