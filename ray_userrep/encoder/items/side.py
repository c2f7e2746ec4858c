"""Items by what else is known of them: their categories and their price.

Categories are hashed into a fixed number of rows: a catalogue with other categories needs no new table, and two of
them sharing a row costs little.

Shapes: V items, D width, C categories of an item.
"""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.fields import PRICE_SIZE, price_codes
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures, hashed_lists
from ray_userrep.errors import UserError

_MAX_CATEGORIES = 8


class SideItems(ItemEmbedder):
    """The mean of the vectors of an item's categories, plus the vector of its price bucket."""

    def __init__(self, num_rows: int, width: int) -> None:
        super().__init__()
        self._num_rows = num_rows
        self.categories = nn.Parameter(torch.randn(num_rows, width) * width**-0.5)
        self.prices = nn.Parameter(torch.zeros(PRICE_SIZE, width))

    def forward(self, ids: Tensor | None) -> Tensor:
        device = self.categories.device
        codes_VC, prices_V = self._codes.on(device), self._prices.on(device)
        if ids is not None:
            codes_VC, prices_V = codes_VC[ids], prices_V[ids]
        known = (codes_VC >= 0)[..., None]
        sums = (F.embedding(codes_VC.clamp(min=0), self.categories) * known).sum(-2)
        return sums / known.sum(-2).clamp(min=1) + F.embedding(prices_V, self.prices)

    def attach(self, table: ItemTable) -> None:
        """Take categories and prices.

        Raises:
            UserError: the table has neither.
        """
        categories, prices = table.categories(), table.prices()
        if categories is None and prices is None:
            raise UserError("encoder.items.kind side needs a category or a price: the item table has neither")
        if categories is None:
            categories = pa.nulls(len(table), pa.list_(pa.string()))
        self._codes = ItemFeatures(hashed_lists(categories, self._num_rows, _MAX_CATEGORIES))
        known = prices if prices is not None else np.full(len(table), np.nan)
        self._prices = ItemFeatures(price_codes(torch.from_numpy(known)))
