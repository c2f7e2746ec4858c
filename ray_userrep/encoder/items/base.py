"""What an item embedder is: item indices go in, or nothing for the whole catalogue, and vectors come out.

What is known of the items (texts, categories) belongs to the item table, not to the weights: it is attached, so that
another catalogue can take its place. Two embedders are made of others: a sum of several, and one scaled to length one,
which turns scores into cosines and gives up what the length of a vector says of an item's popularity.

Shapes: V items, D width, L entries of an item.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.items import ItemTable


class ItemEmbedder(nn.Module, ABC):
    """From item indices to vectors whose products with a user's vector are scores."""

    per_item = False  # whether `weight` has a row for each item

    @abstractmethod
    def forward(self, ids: Tensor | None) -> Tensor:
        """Vectors of the given indices, `[..., D]`; of the whole catalogue for None, `[V, D]`."""

    def held(self) -> Tensor:
        """Vectors of the items that this rank holds of the catalogue, in its order; mostly all of them."""
        vectors_VD: Tensor = self(None)
        return vectors_VD

    def attach(self, table: ItemTable) -> None:
        """Take what is known of the items from their table."""

    def inherit(self, trained: "ItemEmbedder", index_V: Tensor) -> None:
        """Take the weights of an embedder over another catalogue; `index_V` is each item's row there, -1 for none."""
        self.load_state_dict(trained.state_dict())


class ItemFeatures:
    """A tensor aligned with the catalogue that follows the weights from device to device, and is none of them."""

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def on(self, device: torch.device) -> Tensor:
        """The values on a device; copied once."""
        if self._values.device != device:
            self._values = self._values.to(device)
        return self._values


def hashed_lists(lists: pa.ListArray, num_rows: int, most: int) -> Tensor:
    """Rows of the first entries of each item's list, -1 where it has fewer, `[V, L]`."""
    codes_VL = np.full((len(lists), most), -1, np.int64)
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    item = np.repeat(np.arange(len(lists)), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = place < most
    codes_VL[item[kept], place[kept]] = bucket_of(hash_ids(lists.flatten()), num_rows)[kept]
    return torch.from_numpy(codes_VL)


class SumItems(ItemEmbedder):
    """The sum of its parts, scaled so that parts of unit length give about unit length."""

    def __init__(self, parts: Sequence[ItemEmbedder]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, ids: Tensor | None) -> Tensor:
        total = self.parts[0](ids)
        for part in self.parts[1:]:
            total = total + part(ids)
        return total * len(self.parts) ** -0.5

    def attach(self, table: ItemTable) -> None:
        for part in self._embedders():
            part.attach(table)

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        assert isinstance(trained, SumItems)
        for part, other in zip(self._embedders(), trained._embedders(), strict=True):
            part.inherit(other, index_V)

    def _embedders(self) -> list[ItemEmbedder]:
        return [part for part in self.parts if isinstance(part, ItemEmbedder)]


class UnitItems(ItemEmbedder):
    """The vectors of another embedder, scaled to length one; zeros stay zeros."""

    def __init__(self, inner: ItemEmbedder) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor | None) -> Tensor:
        return F.normalize(self.inner(ids), dim=-1)

    def held(self) -> Tensor:
        return F.normalize(self.inner.held(), dim=-1)

    def attach(self, table: ItemTable) -> None:
        self.inner.attach(table)

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        assert isinstance(trained, UnitItems)
        self.inner.inherit(trained.inner, index_V)
