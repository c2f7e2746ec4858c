"""Item vectors of length one, whatever makes them: scores are then cosines, up to the length of the user's vector.

What popular items gain from long vectors is given up, and with it what the length says of them.

Shapes: V items, D width.
"""

from torch import Tensor
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder


class UnitItems(ItemEmbedder):
    """The vectors of another embedder, scaled to length one; zeros stay zeros."""

    def __init__(self, inner: ItemEmbedder) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor | None) -> Tensor:
        return F.normalize(self.inner(ids), dim=-1)

    def attach(self, table: ItemTable) -> None:
        self.inner.attach(table)

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        assert isinstance(trained, UnitItems)
        self.inner.inherit(trained.inner, index_V)
