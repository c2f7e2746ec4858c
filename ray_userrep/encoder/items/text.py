"""Items by their texts: frozen text vectors through a trained projection, so that a new item needs no training.

Shapes: V items, D width, E width of text vectors, F hidden width.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures
from ray_userrep.encoder.layers import ZeroLinear
from ray_userrep.errors import UserError


class TextItems(ItemEmbedder):
    """A linear map of the text vector less a trained centre, and a small network beside it that starts at zero.

    Texts of one shop resemble each other; what they share says nothing, and the centre takes it off (the parametric
    whitening of UniSRec, Hou et al., KDD 2022, eq. 2).
    """

    def __init__(self, text_width: int, width: int, hidden: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(text_width))
        self.weight = nn.Parameter(torch.randn(width, text_width) * width**-0.5)
        self.up = nn.Linear(text_width, hidden) if hidden else None
        self.down = ZeroLinear(hidden, width) if hidden else None

    def forward(self, ids: Tensor | None) -> Tensor:
        x = self._vectors.of(ids, self.weight.device).to(self.weight.dtype) - self.centre
        out = F.linear(x, self.weight)
        return out if self.up is None or self.down is None else out + self.down(F.gelu(self.up(x)))

    def attach(self, table: ItemTable) -> None:
        """Take the text vectors.

        Raises:
            UserError: the table has none, or of another width.
        """
        self._vectors = text_features(table, "text", len(self.centre))


class TextFeatures:
    """The text vectors of a catalogue; an index of V more is the same item with words dropped from its text."""

    def __init__(self, table: ItemTable) -> None:
        self._num_items = len(table)
        stored = [vectors for vectors in (table.text_vectors(), table.reworded_vectors()) if vectors is not None]
        self._vectors = ItemFeatures(torch.from_numpy(np.concatenate(stored)))

    def of(self, ids: Tensor | None, device: torch.device) -> Tensor:
        """Vectors of the given indices, `[..., E]`; of the whole catalogue for None, `[V, E]`."""
        vectors = self._vectors.on(device)
        return vectors[: self._num_items] if ids is None else vectors[ids]


def text_features(table: ItemTable, kind: str, width: int) -> TextFeatures:
    """The text vectors that an embedder of this kind and width is attached to.

    Raises:
        UserError: the table has none, or of another width.
    """
    vectors = table.text_vectors()
    if vectors is None:
        raise UserError(f"encoder.items.kind {kind} needs text vectors: the item table has none")
    if vectors.shape[1] != width:
        raise UserError(f"text vectors are {vectors.shape[1]} wide, the encoder was trained on {width}")
    return TextFeatures(table)
