"""Items as rows of trained tables: one row an item, or fewer rows than items, and one for each category and price.

- `IdItems`: a vector an item, exact and as large as the catalogue.
- `ProjectedItems`: a narrow vector an item through one map. The table's size no longer follows the encoder's width, so
  that backbones of any width are compared over the same item vectors; scores span no more directions than the table is
  wide (ALBERT: Lan et al., ICLR 2020, section 3.1).
- `HashedItems`: the sum of a few rows of one shared table. Two items share all of them with a chance of about
  (number of rows)^-hashes; what is saved in memory and exchanged gradients is paid with rows that serve many items
  (Svenstrup et al., NeurIPS 2017, without their importance weights).
- `SideItems`: categories and price, for items that have no history. Categories are hashed into a fixed number of rows,
  so that another catalogue needs no new table and two categories now and then share a row.

Shapes: T tokens, V items, D width, E width of text vectors or of a narrow table, R rows, H hashes, C categories
of an item.
"""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.draws import hash_ids, splitmix64
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.fields import PRICE_SIZE, price_codes
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures, hashed_lists
from ray_userrep.encoder.layers import Linear
from ray_userrep.errors import UserError


class IdItems(ItemEmbedder):
    """One trained vector an item; the same table scores the catalogue (tied weights)."""

    per_item = True

    def __init__(self, num_items: int, width: int, start_VD: Tensor | None = None) -> None:
        super().__init__()
        # Rows of unit length. Smaller ones move by many times their size in the first steps: items that occur together
        # collapse, and the encoder finds the right neighbourhood but no longer the item.
        start_VD = torch.randn(num_items, width) * width**-0.5 if start_VD is None else start_VD
        self.weight = nn.Parameter(start_VD)

    def forward(self, ids: Tensor | None) -> Tensor:
        return self.weight if ids is None else F.embedding(ids, self.weight)

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        """Shared items keep their vectors, new ones get the mean vector."""
        assert isinstance(trained, IdItems)
        weight = trained.weight.detach()
        rows = torch.where(index_V[:, None] >= 0, weight[index_V.clamp(min=0)], weight.mean(0))
        self.weight = nn.Parameter(rows)


def start_from_text(vectors_VE: Tensor, width: int) -> Tensor:
    """First rows of unit length from text vectors: their principal components, whitened half way, `[V, D]`.

    Whitening in full would make noise of the smallest components as loud as what tells items apart. Items without
    text, and places beyond the text's width, are drawn at random.
    """
    known_V = vectors_VE.norm(dim=1) > 0
    centred_VE = vectors_VE - vectors_VE[known_V].mean(0)
    _, scale_K, components_KE = torch.linalg.svd(centred_VE[known_V], full_matrices=False)
    kept = min(width, len(scale_K))
    rows_VD = torch.randn(len(vectors_VE), width) * width**-0.5
    parts = centred_VE[known_V] @ components_KE[:kept].T / scale_K[:kept].clamp(min=1e-6).sqrt()
    rows_VD[known_V, :kept] = parts
    return F.normalize(rows_VD, dim=1)


class ProjectedItems(ItemEmbedder):
    """A narrow vector an item, mapped to the encoder's width."""

    def __init__(self, num_items: int, table_width: int, width: int) -> None:
        super().__init__()
        self.table = IdItems(num_items, table_width)
        self.map = _Map(table_width, width)

    def forward(self, ids: Tensor | None) -> Tensor:
        vectors: Tensor = self.map(self.table(ids))
        return vectors

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        """Shared items keep their vectors, new ones get the mean vector; the map is the trained one."""
        assert isinstance(trained, ProjectedItems)
        self.table.inherit(trained.table, index_V)
        self.map.load_state_dict(trained.map.state_dict())


class _Map(Linear):
    """Keeps the length of vectors, on average."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.out_features**-0.5)


_HASHED = 2**18  # items at a time


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
        rows_VH = np.empty((len(table), self._num_hashes), np.int32 if self._num_rows <= 2**31 else np.int64)
        salts_H, done = splitmix64(np.arange(self._num_hashes, dtype=np.uint64)), 0
        for ids in table.table.select(["item_id"]).to_batches(max_chunksize=_HASHED):
            salted_VH = splitmix64(hash_ids(ids["item_id"]).view(np.uint64)[:, None] ^ salts_H)
            rows_VH[done : done + len(ids)] = salted_VH % np.uint64(self._num_rows)
            done += len(ids)
        self._rows = ItemFeatures(torch.from_numpy(rows_VH))


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
        self._prices = ItemFeatures(price_codes(torch.tensor(known)))
