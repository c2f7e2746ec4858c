"""Item embedders: from item indices to vectors, and from nothing to the whole catalogue.

Shapes: T tokens, V items, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class IdItems(nn.Module):
    """One trained vector an item; the same table scores the catalogue (tied weights)."""

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        # Rows of unit length. Smaller ones move by many times their size in the first steps: items that occur together
        # collapse, and the encoder finds the right neighbourhood but no longer the item.
        self.weight = nn.Parameter(torch.randn(num_items, width) * width**-0.5)

    def forward(self, ids: Tensor | None) -> Tensor:
        """Vectors of the given indices, `[..., D]`; of the whole catalogue for None, `[V, D]`."""
        return self.weight if ids is None else F.embedding(ids, self.weight)
