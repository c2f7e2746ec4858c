"""Items by their texts for several domains at once: frozen text vectors through a mixture of whitenings.

Each domain's texts have a centre and axes of their own; a gate that reads the text mixes the whitenings, and noise on
it in training keeps all of them in use. It costs a product an expert where one projection costs one. The noise comes
from the generator that every step seeds, as dropout does: a resumed run draws it again.

Shapes: V items, D width, E width of text vectors, G experts.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.items.text import text_features
from ray_userrep.encoder.layers import Dropout, ZeroLinear

_LEAST_NOISE = 0.01


class WhitenedMoEItems(ItemEmbedder):
    """Experts (x - b) W, mixed by a noisy softmax gate (UniSRec, Hou et al., KDD 2022)."""

    def __init__(self, text_width: int, width: int, num_experts: int, dropout: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(num_experts, text_width))
        # The mean of so many independent maps of a text vector of length one has length one.
        self.weight = nn.Parameter(torch.randn(num_experts, width, text_width) * (num_experts / width) ** 0.5)
        self.gate, self.noise = ZeroLinear(text_width, num_experts), ZeroLinear(text_width, num_experts)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor | None) -> Tensor:
        x = self._vectors.of(ids, self.weight.device).to(self.weight.dtype)
        experts = zip(self.centres, self.weight, self._gates(x).unbind(-1), strict=True)
        # One expert at a time: all of them side by side would be as many catalogues in memory. Its centre goes through
        # the product once, not once an item: (x - b) W = x W - b W.
        parts = (
            share[..., None] * F.linear(self.dropout(x), weight, -weight @ centre) for centre, weight, share in experts
        )
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    def _gates(self, x: Tensor) -> Tensor:
        """The share of each expert, `[..., G]`; noise only in training."""
        logits = self.gate(x)
        if self.training:
            logits = logits + torch.randn_like(logits) * (F.softplus(self.noise(x)) + _LEAST_NOISE)
        return logits.softmax(-1)

    def attach(self, table: ItemTable) -> None:
        """Take the text vectors.

        Raises:
            UserError: the table has none, or of another width.
        """
        self._vectors = text_features(table, "whitened_moe", self.centres.shape[1])
