"""What an item embedder is: item indices go in, or nothing for the whole catalogue, and vectors come out.

What is known of the items (texts, categories) belongs to the item table, not to the weights: it is attached, so that
another catalogue can take its place.

Shapes: V items, D width.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

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
