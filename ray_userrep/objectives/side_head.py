"""Heads that predict a field of an interaction, whether the log records it or its item tells it.

A field of items is looked up by the item, so that logs need not repeat it in every row; what the log does record of the
interaction itself comes first.

Shapes: T tokens, M tokens that are predicted, D width, V items.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.fields import CATEGORY_LEVELS, FIELDS, price_codes
from ray_userrep.encoder.layers import ZeroLinear
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import FieldName


class FieldCodes:
    """A field of interactions as small numbers; codes come from their items where the log does not record them.

    `column` is the stored column that it is read from, where it is neither the times nor the items.
    """

    def __init__(self, name: FieldName, item_codes_V: Tensor | None) -> None:
        self.name = name
        stored = FIELDS[name].column
        self.column = stored if item_codes_V is None and stored != TIMESTAMPS else None
        self._item_codes_V = item_codes_V

    def of(self, batch: Batch, place_M: Tensor) -> Tensor:
        """Codes of the interactions at these places, 0 where nothing is known, `[M]`."""
        if self._item_codes_V is not None:
            return self._item_codes_V[batch.values_T[place_M]]
        return FIELDS[self.name].codes(batch)[place_M]


class CodeHead(nn.Module):
    """Predicts one of so many codes, of which 0 says that nothing is known."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.map = ZeroLinear(width, size)

    def forward(self, states_MD: Tensor, codes_M: Tensor) -> Tensor:
        """Summed cross-entropy over what is known, float32."""
        return F.cross_entropy(self.map(states_MD).float(), codes_M, ignore_index=0, reduction="sum")


class SideHead(CodeHead):
    """Predicts a field of an interaction."""

    def __init__(self, codes: FieldCodes, width: int) -> None:
        super().__init__(FIELDS[codes.name].size, width)
        self.name, self.column, self.codes = codes.name, codes.column, codes.of
        self.reads_times = FIELDS[codes.name].column == TIMESTAMPS


def has_field(name: FieldName, items: ItemTable, side_columns: Sequence[str]) -> bool:
    """Whether the log knows a field, of its interactions or of its items."""
    if FIELDS[name].column == TIMESTAMPS or FIELDS[name].column in side_columns:
        return True
    if name in CATEGORY_LEVELS:
        categories = items.categories()
        level = CATEGORY_LEVELS.index(name)
        return categories is not None and bool((_num_categories(categories) > level).any())
    return name == "price" and items.prices() is not None


def field_codes(name: FieldName, items: ItemTable, side_columns: Sequence[str]) -> FieldCodes:
    """The codes of a field that the log has."""
    is_recorded = FIELDS[name].column == TIMESTAMPS or FIELDS[name].column in side_columns
    return FieldCodes(name, None if is_recorded else _item_codes(name, items))


def _item_codes(name: FieldName, items: ItemTable) -> Tensor:
    """Each item's code, `[V]`."""
    categories, prices = items.categories(), items.prices()
    if name == "price":
        assert prices is not None, "a field that the log has"
        return price_codes(torch.from_numpy(prices.copy()))
    assert categories is not None, "a field that the log has"
    level, codes_V = CATEGORY_LEVELS.index(name), np.zeros(len(items), np.int64)
    has_V = _num_categories(categories) > level
    starts_V = categories.offsets.to_numpy()[:-1] - categories.offsets[0].as_py()
    codes = bucket_of(hash_ids(categories.flatten()), FIELDS[name].size - 1)
    codes_V[has_V] = 1 + codes[starts_V[has_V] + level]
    return torch.from_numpy(codes_V)


def _num_categories(categories: pa.ListArray) -> NDArray[np.int64]:
    lengths_V: NDArray[np.int64] = categories.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    return lengths_V
