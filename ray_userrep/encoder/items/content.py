"""Items by what they are: pictures and texts that are encoded anew as the encoders' weights change (TransRec).

No weight belongs to an item, so that one that nobody has met has a vector as good as any. What they are made of lies on
the host, too large for a device. It is read ahead by the thread that makes batches (`read`), and in a training pass
each distinct item is encoded once, whatever the model then asks for (`encoded_once`). Where no gradient is asked for,
the vectors of the catalogue are made in pieces and kept until weights change: the first request waits for all of them,
and those that follow are look-ups.

An item that has several kinds of content has the mean of their vectors; all items that have none share one.

Shapes: V items, U distinct items, N items with one kind of content, D width.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.errors import UserError

Content = dict[str, Tensor]
Weights = dict[str, Tensor]  # of a pretrained model, by its names
_DISTINCT, _ROWS = "items/distinct", "rows"
_PIECE = 256  # items of the catalogue that are encoded together


class Tower(nn.Module, ABC):
    """From one kind of content to vectors."""

    @abstractmethod
    def attach(self, table: ItemTable) -> NDArray[np.bool_]:
        """Take the content from its table; which items have some, `[V]`."""

    @abstractmethod
    def read(self, ids_N: NDArray[np.int64]) -> Content:
        """The content of items that have some, on the host."""

    @abstractmethod
    def forward(self, content: Content) -> Tensor:
        """Vectors of what was read, of about length one, `[N, D]`."""


class Combined(nn.Module):
    """The mean of the vectors of each item's kinds of content, or the one that stands for none."""

    def __init__(self, towers: Mapping[str, Tower], width: int) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.bare = nn.Parameter(torch.randn(width) * width**-0.5)

    def forward(self, content: Content) -> Tensor:
        """Vectors of the distinct items, `[U, D]`."""
        num_items, device = len(content[_DISTINCT]), content[_DISTINCT].device
        total_UD = torch.zeros(num_items, len(self.bare), device=device)
        count_U1 = torch.zeros(num_items, 1, device=device)
        for name, tower in self.towers.items():
            own = {key.removeprefix(f"{name}/"): x for key, x in content.items() if key.startswith(f"{name}/")}
            rows_N = own.pop(_ROWS)
            total_UD = total_UD.index_add(0, rows_N, tower(own).float())
            count_U1 = count_U1.index_add(0, rows_N, count_U1.new_ones(len(rows_N), 1))
        return torch.where(count_U1 > 0, (total_UD / count_U1.clamp(min=1)).to(self.bare), self.bare)


class ContentItems(ItemEmbedder):
    """Vectors of pictures and texts; `towers` are named by the kind of content."""

    def __init__(self, towers: Mapping[str, Tower], width: int) -> None:
        super().__init__()
        self.combined = Combined(towers, width)
        self._in_batch: tuple[Tensor, Tensor] | None = None  # its distinct items, rising, and their vectors
        self._kept: tuple[list[object], Tensor] | None = None  # which weights made it, and the catalogue

    def forward(self, ids: Tensor | None) -> Tensor:
        if self._in_batch is not None and ids is not None:
            distinct_U, vectors_UD = self._in_batch
            place = torch.searchsorted(distinct_U, ids).clamp(max=len(distinct_U) - 1)
            torch._assert_async((distinct_U[place] == ids).all(), "an item that was not read ahead")
            return vectors_UD[place]
        if not self._learns():
            catalogue_VD = self._catalogue()
            return catalogue_VD if ids is None else catalogue_VD[ids]
        self._kept = None
        if ids is None:
            return self._encoded(np.arange(self._num_items))
        distinct_U, place = torch.unique(ids, return_inverse=True)
        return self._encoded(distinct_U.cpu().numpy())[place]

    def attach(self, table: ItemTable) -> None:
        """Take the content.

        Raises:
            UserError: no item has any of the kinds of content, or it has not been through the frozen layers.
        """
        self._num_items, self._kept = len(table), None
        self._has = {name: tower.attach(table) for name, tower in self._towers().items()}
        if not any(has_V.any() for has_V in self._has.values()):
            needs = " or ".join({"language": "a text", "image": "a picture"}[name] for name in self._has)
            raise UserError(f"encoder.items needs {needs} of items: no item of the table has one")

    def read(self, ids: Tensor) -> Content:
        """What vectors of these items and of no others are made from, on the host; each distinct one once."""
        distinct_U = torch.unique(ids)
        ids_U, content = distinct_U.numpy(), {_DISTINCT: distinct_U}
        for name, tower in self._towers().items():
            rows_N = np.flatnonzero(self._has[name][ids_U])
            own = {_ROWS: torch.from_numpy(rows_N)} | tower.read(ids_U[rows_N])
            content |= {f"{name}/{key}": x for key, x in own.items()}
        return content

    @contextmanager
    def once(self, content: Content) -> Iterator[None]:
        """Inside, the vectors of these items are those that are made here; weights may change afterwards."""
        self._kept = None
        self._in_batch = content[_DISTINCT], self.combined(content)
        try:
            yield
        finally:
            self._in_batch = None

    def _encoded(self, ids_U: NDArray[np.int64]) -> Tensor:
        content = self.read(torch.from_numpy(ids_U))
        device = self.combined.bare.device
        vectors_UD: Tensor = self.combined({name: x.to(device, non_blocking=True) for name, x in content.items()})
        return vectors_UD

    def _catalogue(self) -> Tensor:
        """The vectors of all items, without gradient, `[V, D]`."""
        weights = [*self.combined.parameters(), *self.combined.buffers()]
        made_by: list[object] = [(x.data_ptr(), x._version, x.dtype) for x in weights]
        if self._kept is None or self._kept[0] != made_by:
            starts = range(0, self._num_items, _PIECE)
            with torch.inference_mode(False), torch.no_grad():
                parts = [self._encoded(np.arange(at, min(at + _PIECE, self._num_items))) for at in starts]
            self._kept = made_by, torch.cat(parts)
        return self._kept[1]

    def _learns(self) -> bool:
        return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.parameters())

    def _towers(self) -> dict[str, Tower]:
        return {name: tower for name, tower in self.combined.towers.items() if isinstance(tower, Tower)}


def content_items(model: nn.Module) -> ContentItems | None:
    """The embedder over pictures and texts in a model, where it has one."""
    return next((module for module in model.modules() if isinstance(module, ContentItems)), None)


@contextmanager
def encoded_once(model: nn.Module, read: Content) -> Iterator[None]:
    """Encode what was read ahead for a batch once, for all that is asked inside; nothing where nothing was."""
    if _DISTINCT not in read:
        yield
        return
    embedder = content_items(model)
    assert embedder is not None, "who else would have read ahead"
    with embedder.once(read):
        yield


class Head(nn.Module):
    """From a model's states, scaled alike, to a vector of about length one."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self._in_width = in_width
        self.weight = nn.Parameter(torch.randn(width, in_width) * (in_width * width) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x_NE: Tensor) -> Tensor:
        return F.linear(F.layer_norm(x_NE, (self._in_width,)), self.weight, self.bias)
