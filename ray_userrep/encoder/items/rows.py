"""A vector for every item whose gradient is only the rows that were used: for catalogues that ZeRO cannot move.

The table is no parameter: optimiser, gradient reduction and partitioning pass it by, and every worker holds a copy. The
rows that a step reads are handed out as leaves; after the backward pass whoever trains takes their gradients and
updates the table. Full cross-entropy would use every row, so that it needs a sampled softmax.

Shapes: N rows read, V items, D width.
"""

import torch
from torch import Tensor

from ray_userrep.encoder.items.base import ItemEmbedder


class RowItems(ItemEmbedder):
    """One trained vector an item; `take_gradients` hands over what a step learned about them."""

    per_item = True
    weight: Tensor

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(num_items, width) * width**-0.5)
        self._read: list[tuple[Tensor, Tensor]] = []

    def forward(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            assert not (self.training and torch.is_grad_enabled()), "all rows at once are not trained on"
            return self.weight
        rows = self.weight[ids]
        if self.training and torch.is_grad_enabled():
            rows.requires_grad_()
            self._read.append((ids, rows))
        return rows

    def take_gradients(self) -> tuple[Tensor, Tensor]:
        """The rows read since the last call and their gradients, `[N]` and `[N, D]`; a row may come several times."""
        read, self._read = [(ids, rows) for ids, rows in self._read if rows.grad is not None], []
        width = self.weight.shape[1]
        ids = [ids.flatten() for ids, _ in read] or [torch.empty(0, dtype=torch.long, device=self.weight.device)]
        gradients = [rows.grad.reshape(-1, width) for _, rows in read if rows.grad is not None]
        return torch.cat(ids), torch.cat(gradients or [self.weight.new_empty(0, width)])

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        """Shared items keep their vectors, new ones get the mean vector."""
        assert isinstance(trained, RowItems)
        known = trained.weight[index_V.clamp(min=0)]
        self.weight = torch.where(index_V[:, None] >= 0, known, trained.weight.mean(0))
