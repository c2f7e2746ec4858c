"""Several embedders as one: their vectors are added."""

from collections.abc import Sequence

from torch import Tensor, nn

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder


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
