"""A trained table of its own width through one trained map to the encoder's.

The table's size no longer follows the encoder's: backbones of any width can be compared over the same item vectors, and
a wide backbone does not pay for a wide table. The price is that item vectors, and so scores, span no more directions
than the table is wide (Lan et al., ALBERT, ICLR 2020, section 3.1).

Shapes: V items, D width of the encoder, E width of the table.
"""

from torch import Tensor, nn

from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.items.id import IdItems
from ray_userrep.encoder.layers import Linear


class ProjectedItems(ItemEmbedder):
    """A narrow vector an item, mapped to the encoder's width."""

    def __init__(self, num_items: int, table_width: int, width: int) -> None:
        super().__init__()
        self.table = IdItems(num_items, table_width)
        self.map = _Map(table_width, width)

    def forward(self, ids: Tensor | None) -> Tensor:
        vectors: Tensor = self.map(self.table(ids))
        return vectors

    def inherit(self, trained: ItemEmbedder, index_V: Tensor) -> None:
        """Shared items keep their vectors, new ones get the mean vector; the map is the trained one."""
        assert isinstance(trained, ProjectedItems)
        self.table.inherit(trained.table, index_V)
        self.map.load_state_dict(trained.map.state_dict())


class _Map(Linear):
    """Keeps the length of vectors, on average."""

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.out_features**-0.5)
