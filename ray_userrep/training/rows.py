"""Item tables whose gradients are rows (`RowItems`): updated beside the engine's optimiser, clipped with all the rest.

Only rows that a step has learned about are exchanged and updated, each by the rank that holds it. Moments of other rows
do not decay (as in torch's SparseAdam): an update costs what the batch holds, not what the catalogue does. A row that
was read but got no gradient (under a hidden item, or by a filler that keeps ranks in step) counts as not read, so that
results do not depend on how a batch was dealt out.

Shapes: N rows with a gradient, R distinct ones, S rows that a rank holds, D width.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.exchange import Route
from ray_userrep.encoder.items.rows import RowItems

_EPSILON, _CLIP_EPSILON = 1e-8, 1e-6


class RowAdam(nn.Module):
    """The moments of the rows that a rank holds of one table, kept beside the model: for checkpoints, not exports."""

    first_SD: Tensor
    second_SD: Tensor
    steps: Tensor

    def __init__(self, table: RowItems, betas: tuple[float, float]) -> None:
        super().__init__()
        self._betas = betas
        self._table = [table]  # in a list: the table is the encoder's child, not this module's
        self.register_buffer("first_SD", torch.zeros_like(table.weight))
        self.register_buffer("second_SD", torch.zeros_like(table.weight))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def table(self) -> RowItems:
        """The table whose moments these are."""
        return self._table[0]

    @torch.no_grad()
    def collect(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Bring what all ranks have learned of a row to the one that holds it.

        It is averaged over ranks, as gradients of parameters are; `over_ranks` adds up a tensor of each.
        """
        exchange = self.table.exchange
        rows_R, g_RD = _summed(*self.table.take_gradients())
        if exchange.world > 1:
            route = Route(exchange, rows_R)
            rows_R, g_RD = _summed(route.places_G, route.to_holders(g_RD))
            g_RD /= exchange.world
        is_learned_R = g_RD.any(1)
        self._rows_R, self._g_RD = rows_R[is_learned_R], g_RD[is_learned_R]
        norm = torch.linalg.vector_norm(self._g_RD)
        self._norm = norm if exchange.world == 1 else over_ranks(norm.square()).sqrt()

    def norm(self) -> Tensor:
        """The norm of what was collected, of all ranks."""
        return self._norm

    @torch.no_grad()
    def step(self, learning_rate: float, factor: Tensor) -> None:
        """Update the collected rows by their gradients times a factor."""
        betas, rows_R, g_RD = self._betas, self._rows_R, self._g_RD * factor
        self.steps += 1
        # By whole rows, which takes half the time of indexing that may pick single numbers.
        first_RD = self.first_SD.index_select(0, rows_R).lerp_(g_RD, 1 - betas[0])
        second_RD = self.second_SD.index_select(0, rows_R).lerp_(g_RD.square(), 1 - betas[1])
        self.first_SD.index_copy_(0, rows_R, first_RD)
        self.second_SD.index_copy_(0, rows_R, second_RD)
        corrected = first_RD.div_(1 - betas[0] ** self.steps).mul_(-learning_rate)
        spread = second_RD.div_(1 - betas[1] ** self.steps).sqrt_().add_(_EPSILON)
        self.table.weight.index_add_(0, rows_R, corrected.div_(spread).to(self.table.weight.dtype))


def _summed(rows_N: Tensor, g_ND: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ones of some rows, and the sums of their gradients."""
    rows_R, place_N = torch.unique(rows_N, return_inverse=True)
    total_RD = torch.zeros(len(rows_R), g_ND.shape[1], device=g_ND.device)
    return rows_R, total_RD.index_add(0, place_N, g_ND.float())


class Held(NamedTuple):
    """What a rank holds of a tensor with a row for each item of a table."""

    table: RowItems
    rows_SD: Tensor


def held_rows(model: nn.Module) -> dict[str, Held]:
    """Those tensors of a model, by their names in its state."""
    found: dict[str, Held] = {}
    for name, module in model.named_modules():
        if isinstance(module, RowItems):
            found[f"{name}.weight"] = Held(module, module.weight)
        elif isinstance(module, RowAdam):
            found |= {f"{name}.first_SD": Held(module.table, module.first_SD)}
            found |= {f"{name}.second_SD": Held(module.table, module.second_SD)}
    return found


def clip_factor(most: float, norm: Tensor | float) -> Tensor:
    """What gradients are multiplied by so that their norm is at most so much."""
    return (most / (torch.as_tensor(norm) + _CLIP_EPSILON)).clamp(max=1.0)


def clip(parameters: list[nn.Parameter], row_norms: list[Tensor], most: float) -> Tensor:
    """Clip the gradients of parameters by the norm of all, row tables' among them; returns the norm."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if row_norms:
        norm = torch.linalg.vector_norm(torch.stack([norm, *row_norms]))
    torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm
