"""A trained vector an item, of which a step reads and learns only the rows that it uses: for large catalogues.

The table is no parameter: neither ZeRO nor a dense optimiser has to move the whole of it. Several ranks that train it
hold a share each (`exchange.py`), and no rank sees the whole catalogue at once; elsewhere it is whole.

Shapes: V items, S of them held by a rank, U distinct items, N rows read, D width.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.items.exchange import Route, exchange_here

ASKED = "items/rows"  # label: the distinct items that a micro-batch asks vectors of, rising
_PIECE = 2**18  # rows that are drawn together


class RowItems(ItemEmbedder):
    """One trained vector an item; `take_gradients` hands over what a step learned about them.

    `weight` has the rows that this rank holds, `[S, D]`.
    """

    per_item = True
    weight: Tensor

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.num_items, self.exchange = num_items, exchange_here()
        self.register_buffer("weight", self._drawn(width))
        self._read: list[tuple[Tensor, Tensor]] = []
        self._in_batch: tuple[Tensor, Tensor] | None = None  # its distinct items, rising, and their vectors

    @property
    def size(self) -> int:
        """Numbers of the whole table, on all ranks."""
        return self.num_items * self.weight.shape[1]

    def _drawn(self, width: int) -> Tensor:
        """First rows: those that a rank that is alone would draw, and so the same for any number of ranks."""
        rank, world = self.exchange.rank, self.exchange.world
        rows_SD = torch.empty(len(range(rank, self.num_items, world)), width)
        for first in range(0, self.num_items, _PIECE):
            drawn_ND = torch.randn(min(_PIECE, self.num_items - first), width)[(rank - first) % world :: world]
            begin = len(range(rank, first, world))
            torch.mul(drawn_ND, width**-0.5, out=rows_SD[begin : begin + len(drawn_ND)])
        return rows_SD

    def forward(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            assert not self._learns(), "all rows at once are not trained on"
            assert self.exchange.world == 1, "no rank holds the whole catalogue"
            return self.weight
        if self.exchange.world == 1:
            return self._noted(ids, self.weight.index_select(0, ids.flatten()).view(*ids.shape, self.weight.shape[1]))
        if self._in_batch is not None:
            distinct_U, rows_UD = self._in_batch
            place = torch.searchsorted(distinct_U, ids).clamp(max=len(distinct_U) - 1)
            torch._assert_async((distinct_U[place] == ids).all(), "an item that was not asked for")
            return rows_UD[place]
        distinct_U, place = torch.unique(ids, return_inverse=True)
        return self._fetched(distinct_U)[place]

    def held(self) -> Tensor:
        return self.weight

    @contextmanager
    def once(self, distinct_U: Tensor) -> Iterator[None]:
        """Inside, vectors of these items and of no others are asked for; they come all at once, before."""
        self._in_batch = distinct_U, self._fetched(distinct_U)
        try:
            yield
        finally:
            self._in_batch = None

    def _fetched(self, distinct_U: Tensor) -> Tensor:
        """Rows from the ranks that hold them."""
        route = Route(self.exchange, distinct_U)
        return self._noted(distinct_U, route.to_askers(self.weight[route.places_G]))

    def _noted(self, ids: Tensor, rows: Tensor) -> Tensor:
        if self._learns():
            rows.requires_grad_()
            self._read.append((ids, rows))
        return rows

    def _learns(self) -> bool:
        return self.training and torch.is_grad_enabled()

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


@contextmanager
def fetched_once(model: nn.Module, labels: dict[str, Tensor]) -> Iterator[None]:
    """Inside, the items that a micro-batch asks for, where its labels name them (`ASKED`), come at once."""
    with ExitStack() as stack:
        for table in row_tables(model) if ASKED in labels else []:
            stack.enter_context(table.once(labels[ASKED]))
        yield


def row_tables(model: nn.Module) -> list[RowItems]:
    """The row tables of a model, in a fixed order."""
    return [module for module in model.modules() if isinstance(module, RowItems)]


def is_dealt_out(model: nn.Module) -> bool:
    """Whether several ranks hold the items of a model between them."""
    return any(table.exchange.world > 1 for table in row_tables(model))
