"""Items by the columns of the catalogue: the item tower of a two-tower model (Yao et al., CIKM 2021).

Each column has a table of its own; the rows of all columns lie end to end and go through a network of one hidden layer.
Texts are hashed into a fixed number of rows: a column of a million values needs no more memory than one of ten, and two
values now and then share a row. Numbers go by quantiles of the catalogue that the encoder was built over; these edges
are kept with the weights, so that an item of another catalogue is parted as it would have been. They are whole numbers
in the order of the floats, which no cast to a shorter type rounds.

What is not known of an item, and what an objective hides, is one trained vector a column. Items that never occurred
have vectors; two with the same columns have the same one.

Shapes: V items, D width, W width of a column's vector, F columns, E edges, L entries of an item.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.features import quantile_edges
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures, hashed_lists
from ray_userrep.encoder.layers import Linear
from ray_userrep.recipe.encoder import FeatureItemsConfig

_MAX_ENTRIES = 8
_UNKNOWN, _LARGEST = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max


class FeatureItems(ItemEmbedder):
    """A network over the vectors of an item's columns, of about length one at first."""

    def __init__(self, config: FeatureItemsConfig, width: int, table: ItemTable | None = None) -> None:
        super().__init__()
        shape = config.feature_width
        texts = [TextColumn(name, config.num_rows, shape) for name in config.columns]
        numbers = [NumberColumn(name, config.num_buckets, shape, table) for name in config.numbers]
        self.columns = nn.ModuleList([*texts, *numbers])
        self.up = Linear(len(self.columns) * shape, config.hidden)
        self.down = Linear(config.hidden, width)

    def forward(self, ids: Tensor | None, hidden: Tensor | None = None) -> Tensor:
        """Vectors as every embedder has them; `hidden` says which columns of each index are not shown, `[..., F]`."""
        masks: Sequence[Tensor | None] = [None] * len(self.columns) if hidden is None else hidden.unbind(-1)
        parts = [column(ids, mask) for column, mask in zip(self.columns, masks, strict=True)]
        vectors: Tensor = self.down(F.relu(self.up(torch.cat(parts, -1))))
        return vectors * (2 / vectors.shape[-1]) ** 0.5  # ReLU halves the variance

    def attach(self, table: ItemTable) -> None:
        """Take the columns.

        Raises:
            UserError: one is not there, or of another kind.
        """
        for column in self.columns:
            assert isinstance(column, _Column)
            column.attach(table)


class _Column(nn.Module, ABC):
    """The vectors of one column, the last of them for what is not known."""

    def __init__(self, name: str, num_rows: int, width: int) -> None:
        super().__init__()
        self._name = name
        self.weight = nn.Parameter(torch.randn(num_rows + 1, width))

    @abstractmethod
    def attach(self, table: ItemTable) -> None:
        """Take the column from its table."""

    @abstractmethod
    def rows(self, ids: Tensor | None) -> Tensor:
        """The rows of the given items, or of all, -1 for none, `[..., L]`."""

    def forward(self, ids: Tensor | None, hidden: Tensor | None) -> Tensor:
        rows = self.rows(ids)
        known = rows >= 0 if hidden is None else (rows >= 0) & ~hidden[..., None]
        sums = (F.embedding(rows.clamp(min=0), self.weight) * known[..., None]).sum(-2)
        number = known.sum(-1, keepdim=True)
        return torch.where(number > 0, sums / number.clamp(min=1), self.weight[-1])


class TextColumn(_Column):
    """The mean of the rows that an item's entries are hashed into."""

    def __init__(self, name: str, num_rows: int, width: int) -> None:
        super().__init__(name, num_rows, width)
        self._num_rows = num_rows

    def attach(self, table: ItemTable) -> None:
        (lists,) = table.features([self._name]).values()
        self._rows = ItemFeatures(hashed_lists(lists, self._num_rows, _MAX_ENTRIES))

    def rows(self, ids: Tensor | None) -> Tensor:
        rows_VL = self._rows.on(self.weight.device)
        return rows_VL if ids is None else rows_VL[ids]


class NumberColumn(_Column):
    """The row of the bucket that an item's number falls into."""

    edges: Tensor

    def __init__(self, name: str, num_buckets: int, width: int, table: ItemTable | None) -> None:
        super().__init__(name, num_buckets, width)
        edges_E = torch.full((num_buckets - 1,), _LARGEST)
        if table is not None:  # else trained edges are about to be loaded
            found = _in_order(quantile_edges(table.numbers(name), num_buckets))
            edges_E[: len(found)] = torch.from_numpy(found)
        self.register_buffer("edges", edges_E)

    def attach(self, table: ItemTable) -> None:
        self._numbers = ItemFeatures(torch.from_numpy(_in_order(table.numbers(self._name))))

    def rows(self, ids: Tensor | None) -> Tensor:
        numbers = self._numbers.on(self.weight.device)
        numbers = numbers if ids is None else numbers[ids]
        return torch.bucketize(numbers, self.edges, right=True).masked_fill(numbers == _UNKNOWN, -1)[..., None]


def _in_order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in the same order, the lowest for NaN."""
    bits = (values + 0.0).view(np.int64)  # the sum makes one zero of two
    return np.where(np.isnan(values), _UNKNOWN, np.where(bits < 0, bits ^ _LARGEST, bits))


def feature_items(items: ItemEmbedder) -> FeatureItems:
    """The embedder over columns in an encoder's, which has one."""
    return next(module for module in items.modules() if isinstance(module, FeatureItems))
