"""Heads that predict a set: which values of a column of items, or of a field, some interactions have between them.

Each value is a question of its own (a sigmoid each), as a bundle of interactions has several at once. Values are
hashed, so that a column needs no vocabulary; two that fall on one code are not told apart.

Shapes: N interactions, M sets of them, L values of an interaction, C codes, D width, V items.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.items.base import hashed_lists
from ray_userrep.encoder.layers import ZeroLinear
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.side_head import FieldCodes

COLUMN_SIZE, _MOST_VALUES = 1024, 16  # codes of a column, and values of an item that are read


class Codes(NamedTuple):
    """What a head is asked about: its name, how many codes there are, a stored column that it is read from, if any,
    and those of the interactions at some places of a batch, 0 for none, `[N, L]`."""

    name: str
    size: int
    column: str | None
    of: Callable[[Batch, Tensor], Tensor]


class SetHead(nn.Module):
    """Predicts which codes a set holds; at first each is held to be there as often as if every set held just one."""

    def __init__(self, codes: Codes, width: int) -> None:
        super().__init__()
        self.name, self.column, self._codes = codes.name, codes.column, codes
        self.map = ZeroLinear(width, codes.size)
        self.bias = nn.Parameter(torch.full((codes.size,), -math.log(codes.size)))

    def sets(self, batch: Batch, place_N: Tensor, set_N: Tensor, num_sets: int) -> Tensor:
        """The codes of interactions at these places by the set that each is of, `[M, C]`; unknown ones are in none."""
        codes_NL = self._codes.of(batch, place_N)
        held_MC = torch.zeros(num_sets, self._codes.size, dtype=torch.bool)
        held_MC[set_N[:, None].expand_as(codes_NL), codes_NL] = True
        held_MC[:, 0] = False
        return held_MC

    def forward(self, states_MD: Tensor, held_MC: Tensor) -> Tensor:
        """Summed negative log-likelihood of the sets, each code by itself, float32; empty sets add nothing."""
        logits_MC = self.map(states_MD).float() + self.bias.float()
        loss_MC = F.binary_cross_entropy_with_logits(logits_MC, held_MC.float(), reduction="none")
        return (loss_MC.sum(1) * is_known(held_MC)).sum()


def is_known(held_MC: Tensor) -> Tensor:
    """Which sets hold anything, `[M]`."""
    return held_MC.any(1)


def codes_of_column(name: str, items: ItemTable) -> Codes:
    """The values that a column of the item table has of each interaction's item.

    Raises:
        UserError: the items have no such column, or it is no text and no list.
    """
    if name not in items.table.column_names:
        there = ", ".join(items.table.column_names)
        raise UserError(f"objective.columns: the items of this log have no column {name!r}; they have {there}")
    (lists,) = items.features((name,)).values()
    codes_VL = 1 + hashed_lists(lists, COLUMN_SIZE - 1, _MOST_VALUES)
    return Codes(name, COLUMN_SIZE, None, lambda batch, place_N: codes_VL[batch.values_T[place_N]])


def codes_of_field(field: FieldCodes) -> Codes:
    """A field of each interaction, of which it has one value."""
    return Codes(
        field.name, FIELDS[field.name].size, field.column, lambda batch, place_N: field.of(batch, place_N)[:, None]
    )
