"""A trained vector for every item: exact, and as large as the catalogue.

Shapes: T tokens, V items, D width, E width of text vectors.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.items.base import ItemEmbedder


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
