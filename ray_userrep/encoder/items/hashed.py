"""A small table for a large catalogue: each item is the sum of a few rows, chosen by hashes of its id.

Two items share all their rows with a chance of about (number of rows)^-hashes, so that they stay apart; what is saved
in memory and in gradients that workers exchange is paid with rows that serve many items (Svenstrup et al., NeurIPS
2017, without their importance weights).

Shapes: V items, D width, R rows, H hashes.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.draws import splitmix64
from ray_userrep.corpus.hashing import hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures


class HashedItems(ItemEmbedder):
    """The sum of an item's rows in one shared table."""

    def __init__(self, num_rows: int, num_hashes: int, width: int) -> None:
        super().__init__()
        self._num_rows, self._num_hashes = num_rows, num_hashes
        self.weight = nn.Parameter(torch.randn(num_rows, width) * (width * num_hashes) ** -0.5)

    def forward(self, ids: Tensor | None) -> Tensor:
        rows_VH = self._rows.on(self.weight.device)
        return F.embedding(rows_VH if ids is None else rows_VH[ids], self.weight).sum(-2)

    def attach(self, table: ItemTable) -> None:
        hashes_V = hash_ids(table.ids).view(np.uint64)
        salted_VH = splitmix64(hashes_V[:, None] ^ splitmix64(np.arange(self._num_hashes, dtype=np.uint64)))
        self._rows = ItemFeatures(torch.from_numpy((salted_VH % np.uint64(self._num_rows)).astype(np.int64)))
