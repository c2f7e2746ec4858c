"""Which neighbours an encoder looks at in the graph of users and items: drawn by a hash, on the device.

What is drawn hangs on the node, on a slot, and in training on a number that each window has of its own in each epoch
(`DRAW`): any number of workers draws the same, and a history that is encoded twice is told of the same neighbours. A
node's neighbours are drawn with replacement, so that nothing is padded, whatever their number. A training user is never
shown to be a neighbour of what they did: that would tell what they do next.

Shapes: T items, S slots, ... any axes.
"""

from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.encoder.items.base import ItemFeatures
from ray_userrep.feed.batch import DRAW, Batch

_USERS, _ITEMS, _CHOICE = 48, 49, 50  # what a draw is for
_NOBODY = -1
_GAMMA, _FIRST, _SECOND = (value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Around(NamedTuple):
    """Users of some items, and items of these users, with what is not there marked; numbers that choose among users.

    `draw_TS` are uniform numbers in training, and one half where nothing is drawn anew.
    """

    is_user_TS: Tensor
    items_TSS: Tensor
    is_item_TSS: Tensor
    draw_TS: Tensor


class Neighbours(NamedTuple):
    """Some neighbours of each node, as rows or item indices, and whether they are there."""

    nodes: Tensor
    is_there: Tensor


class Neighbourhoods:
    """Draws from a graph; its lists follow the batches from device to device."""

    def __init__(self, graph: UserItemGraph, num_neighbours: int) -> None:
        self.graph = graph
        self._num = num_neighbours
        self._hashes = ItemFeatures(torch.from_dlpack(pa.array(graph.users_U)))
        self._items_of, self._users_of = _Lists(graph.items_of), _Lists(graph.users_of)

    def of_windows(self, batch: Batch) -> Around:
        """What lies around the items of a batch's windows, `[T, ...]`, without the windows' own users in training."""
        draw_B = batch.labels.get(DRAW)
        if draw_B is None:
            return self._around(batch.values_T, None, batch.users_B.new_full((1,), _NOBODY))
        return self._around(batch.values_T, batch.per_token(draw_B), batch.per_token(self._row(batch.users_B)))

    def of_items(self, items_B: Tensor, draw_B: Tensor | None) -> Around:
        """What lies around items without themselves, `[B, ...]`."""
        around = self._around(items_B, draw_B, items_B.new_full((1,), _NOBODY))
        return around._replace(is_item_TSS=around.is_item_TSS & (around.items_TSS != items_B[:, None, None]))

    def _around(self, items_T: Tensor, draw_T: Tensor | None, but_T: Tensor) -> Around:
        key_T = torch.zeros_like(items_T) if draw_T is None else draw_T
        users = self._users_of.drawn(bits(key_T + _USERS), items_T, self._num)
        is_user_TS = users.is_there & (users.nodes != but_T[:, None])
        items = self._items_of.drawn(bits(key_T + _ITEMS)[:, None], users.nodes, self._num)
        choice_TS = _slots(bits(key_T + _CHOICE) ^ items_T, self._num)
        draw_TS = torch.full_like(choice_TS, 0.5) if draw_T is None else choice_TS
        return Around(is_user_TS, items.nodes, items.is_there & is_user_TS[..., None], draw_TS)

    def _row(self, users_B: Tensor) -> Tensor:
        """The row of each user, by hash; -1 of those that are no nodes."""
        hashes_U = self._hashes.on(users_B.device)
        place_B = torch.searchsorted(hashes_U, users_B).clamp(max=len(hashes_U) - 1)
        return torch.where(hashes_U[place_B] == users_B, place_B, _NOBODY)


class _Lists:
    """Lists of neighbours, end to end."""

    def __init__(self, lists: pa.LargeListArray) -> None:
        self._offsets, self._values = (ItemFeatures(torch.from_dlpack(one)) for one in (lists.offsets, lists.values))

    def drawn(self, key: Tensor, nodes: Tensor, number: int) -> Neighbours:
        """So many neighbours of each node; nodes below zero have none."""
        offsets, values = self._offsets.on(nodes.device), self._values.on(nodes.device)
        known = nodes.clamp(min=0)
        first, degree = offsets[known], offsets[known + 1] - offsets[known]
        uniform = _slots(key ^ nodes, number)
        place = first[..., None] + (uniform * degree[..., None]).long()
        is_there = ((degree > 0) & (nodes >= 0))[..., None].expand(place.shape)
        return Neighbours(values[place.clamp(max=len(values) - 1)], is_there)


def _slots(key: Tensor, number: int) -> Tensor:
    """Uniform numbers in [0, 1) for each key, float64, `[..., S]`."""
    slot_S = torch.arange(number, device=key.device)
    return _shifted(bits(bits(key)[..., None] ^ bits(slot_S)), 11).double() * 2.0**-53


def bits(x: Tensor) -> Tensor:
    """SplitMix64's finaliser of int64, elementwise and wrapping: that of `corpus.draws`, on any device."""
    z = x + _GAMMA
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(x: Tensor, number: int) -> Tensor:
    """Shifted to the right, filled up with zeros."""
    return (x >> number) & ((1 << (64 - number)) - 1)
