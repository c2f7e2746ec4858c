"""What an item embedder is: item indices go in, or nothing for the whole catalogue, and vectors come out.

What is known of the items (texts, categories) belongs to the item table, not to the weights: it is attached, so that
another catalogue can take its place.

Shapes: V items, D width, L entries of an item.
"""

from abc import ABC, abstractmethod

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from ray_userrep.corpus.hashing import bucket_of, hash_ids
from ray_userrep.corpus.items import ItemTable


class ItemEmbedder(nn.Module, ABC):
    """From item indices to vectors whose products with a user's vector are scores."""

    per_item = False  # whether `weight` has a row for each item

    @abstractmethod
    def forward(self, ids: Tensor | None) -> Tensor:
        """Vectors of the given indices, `[..., D]`; of the whole catalogue for None, `[V, D]`."""

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
