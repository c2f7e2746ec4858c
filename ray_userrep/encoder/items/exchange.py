"""How ranks that hold a table's rows between them ask each other for rows, and hand back what they learned of them.

Row v is held by rank v mod W. Items are numbered by how often they occur, so that every rank holds as many popular
ones; ranges would leave the first rank most of the work. An exchange is three collectives: how many rows go where,
which, and the rows. All ranks have to take part, also those that ask for nothing.

Shapes: W ranks, U distinct rows that a rank asks for, G rows that others ask it for, N rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor


class Exchange(Protocol):
    """What a rank hands to all ranks, and gets from them."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int: ...

    def numbers(self, going_W: Tensor) -> tuple[list[int], list[int]]:
        """How many rows go to each rank, as given, and how many come from each."""
        ...

    def rows(self, rows_N: Tensor, going: list[int], coming: list[int]) -> Tensor:
        """Rows in the order of the ranks they go to, for those that come, in the order of the ranks they come from."""
        ...


class _Alone:
    """The exchange of a rank that has no others."""

    rank, world = 0, 1

    def numbers(self, going_W: Tensor) -> tuple[list[int], list[int]]:
        return going_W.tolist(), going_W.tolist()

    def rows(self, rows_N: Tensor, going: list[int], coming: list[int]) -> Tensor:
        return rows_N


ALONE: Exchange = _Alone()
_OF_NEW_TABLES: ContextVar[Exchange] = ContextVar("exchange", default=ALONE)


@contextmanager
def dealt_out(exchange: Exchange) -> Iterator[None]:
    """Inside, tables of rows are built as the share of one rank."""
    before = _OF_NEW_TABLES.set(exchange)
    try:
        yield
    finally:
        _OF_NEW_TABLES.reset(before)


def exchange_here() -> Exchange:
    """That of the ranks that a table built now is dealt out over."""
    return _OF_NEW_TABLES.get()


class Route:
    """The way from distinct row numbers, `[U]`, to the ranks that hold them, and back."""

    def __init__(self, exchange: Exchange, ids_U: Tensor) -> None:
        holder_U = ids_U % exchange.world
        self._exchange = exchange
        self._order_U = holder_U.argsort(stable=True)
        self._going, self._coming = exchange.numbers(torch.bincount(holder_U, minlength=exchange.world))
        self.places_G = self.to_holders(ids_U) // exchange.world  # where a holder has what all ranks ask it for

    def to_holders(self, rows_U: Tensor) -> Tensor:
        """What each rank has of its rows, at those that hold them, `[G, ...]`."""
        return self._exchange.rows(rows_U[self._order_U], self._going, self._coming)

    def to_askers(self, rows_G: Tensor) -> Tensor:
        """What holders have of rows, at those that asked for them, `[U, ...]`."""
        found_U = self._exchange.rows(rows_G, self._coming, self._going)
        return torch.empty_like(found_U).index_copy_(0, self._order_U, found_U)
