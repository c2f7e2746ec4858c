"""Losses that look across windows, over a global batch in several micro-batches: cached gradients (Gao et al. 2021).

What an objective gathers over the ranks it is given over their micro-batches, too: the micro-batch at hand's rows as
they are, all others held fixed. What the losses of the others ask of a row adds up beside it, and reaches the weights
in a pass of its own. Rows are made three times and differentiated twice, for a step about 2.3 times as long;
activations are those of one micro-batch, whatever the batch holds.

Shapes: N rows of a micro-batch, G rows of all micro-batches of all ranks.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ray_userrep.objectives.base import Gather


class Kept:
    """The gather of a micro-batch that keeps its rows, call by call, and brings no others."""

    def __init__(self) -> None:
        self.calls: list[Tensor] = []

    def __call__(self, rows_N: Tensor) -> tuple[Tensor, int]:
        self.calls.append(rows_N)
        return rows_N, 0


class CachedRows:
    """The rows of all micro-batches of all ranks, as they were before the step, and what losses ask of them."""

    def __init__(self, kept: Sequence[Kept], gather: Gather) -> None:
        self._calls = [_Call(rows, gather) for rows in zip(*(one.calls for one in kept), strict=True)]

    def gather_of(self, micro: int) -> Gather:
        """The gather of a micro-batch in its forward pass."""
        calls = iter(self._calls)
        return lambda rows_N: next(calls).joined(rows_N, micro)

    def add_up(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Bring together what the losses of all ranks ask of each row."""
        for call in self._calls:
            if call.rows_G.grad is not None:
                call.rows_G.grad = over_ranks(call.rows_G.grad)

    def asked(self, kept: Kept, micro: int) -> Tensor | None:
        """The products of a micro-batch's rows with what other losses ask of them; None where nothing is."""
        products = [call.product(rows_N, micro) for call, rows_N in zip(self._calls, kept.calls, strict=True)]
        found = [product for product in products if product is not None]
        return torch.stack(found).sum() if found else None


class _Call:
    """One of the calls of `gather` in a forward pass."""

    def __init__(self, rows: Sequence[Tensor], gather: Gather) -> None:
        self.rows_G, begin = gather(torch.cat(list(rows)))
        sizes = torch.tensor([0, *(len(rows_N) for rows_N in rows)])
        self._bounds: list[int] = (begin + sizes.cumsum(0)).tolist()

    def joined(self, rows_N: Tensor, micro: int) -> tuple[Tensor, int]:
        """All rows, with a micro-batch's own in their place."""
        if rows_N.requires_grad:
            self.rows_G.requires_grad_()
        begin, end = self._bounds[micro : micro + 2]
        return torch.cat([self.rows_G[:begin], rows_N, self.rows_G[end:]]), begin

    def product(self, rows_N: Tensor, micro: int) -> Tensor | None:
        """Of a micro-batch's rows with what others ask of them."""
        if self.rows_G.grad is None:
            return None
        begin, end = self._bounds[micro : micro + 2]
        return (rows_N.float() * self.rows_G.grad[begin:end].float()).sum()
