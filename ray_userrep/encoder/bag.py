"""The order-free part of a user vector: a second vector an item, summed over a history and scaled by its length.

What describes a user over years is mostly what was taken at all, not in which order. A sum has no window: it is exact
however a history is cut, and a new day is added to it without reading the old ones again. It costs a second table as
long as the catalogue.

Shapes: T tokens, B windows, F width of the bag.
"""

from torch import Tensor, nn

from ray_userrep.encoder.items.tables import IdItems
from ray_userrep.encoder.readout import window_sums
from ray_userrep.feed.batch import Batch


class Bag(nn.Module):
    """Sums over windows of a trained vector an item."""

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.items = IdItems(num_items, width)

    def forward(self, batch: Batch) -> Tensor:
        """What each window adds to its user's sum, `[B, F]`; hidden items add nothing."""
        vectors_TF = self.items(batch.values_T.clamp(min=0)) * (batch.values_T >= 0)[:, None]
        return window_sums(vectors_TF, batch.offsets_B1)


def bag_scale(lengths_B: Tensor) -> Tensor:
    """What a sum over so many interactions is divided by: the root, `[B]`.

    Vectors of unrelated items add up like a random walk, so that sums over long and short histories come out of one
    size, while those of a user with one taste still grow; an item taken c times counts √c times, as in sublinear tf.
    """
    return lengths_B.clamp(min=1).float().sqrt()
