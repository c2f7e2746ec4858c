"""Item tables whose gradients are rows (`RowItems`): updated beside the engine's optimiser, clipped with all the rest.

Only rows that a step has learned about are exchanged and updated. Moments of other rows do not decay (as in torch's
SparseAdam): an update costs what the batch holds, not what the catalogue does. A row that was read but got no gradient
(under a hidden item, or by a filler that keeps ranks in step) counts as not read, so that results do not depend on how
a batch was dealt out.

Shapes: N rows read by all ranks, R of them distinct and learned about, V items, D width.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.tables import RowItems
from ray_userrep.objectives.base import Gather

_EPSILON, _CLIP_EPSILON = 1e-8, 1e-6


class RowAdam(nn.Module):
    """The moments of one row table, kept beside the model so that checkpoints hold them and exports do not."""

    first_VD: Tensor
    second_VD: Tensor
    steps: Tensor

    def __init__(self, table: RowItems, betas: tuple[float, float]) -> None:
        super().__init__()
        self._betas = betas
        self._table = [table]  # in a list: the table is the encoder's child, not this module's
        self.register_buffer("first_VD", torch.zeros_like(table.weight))
        self.register_buffer("second_VD", torch.zeros_like(table.weight))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def collect(self, world: int, gather: Gather) -> None:
        """Bring together what all ranks have learned; averaged over ranks, as gradients of parameters are."""
        ids_N, gradients_ND = self._table[0].take_gradients()
        all_ids, _ = gather(ids_N)
        all_gradients, _ = gather(gradients_ND)
        rows_R, place_N = torch.unique(all_ids, return_inverse=True)
        g_RD = torch.zeros(len(rows_R), gradients_ND.shape[1], device=gradients_ND.device)
        g_RD = g_RD.index_add(0, place_N, all_gradients.float()) / world
        is_learned_R = g_RD.any(1)
        self._rows_R, self._g_RD = rows_R[is_learned_R], g_RD[is_learned_R]

    def norm(self) -> Tensor:
        """The norm of what was collected."""
        return torch.linalg.vector_norm(self._g_RD)

    @torch.no_grad()
    def step(self, learning_rate: float, factor: Tensor) -> None:
        """Update the collected rows by their gradients times a factor."""
        betas, rows_R, g_RD = self._betas, self._rows_R, self._g_RD * factor
        self.steps += 1
        first_RD = self.first_VD[rows_R].lerp_(g_RD, 1 - betas[0])
        second_RD = self.second_VD[rows_R].lerp_(g_RD.square(), 1 - betas[1])
        self.first_VD[rows_R], self.second_VD[rows_R] = first_RD, second_RD
        corrected = first_RD / (1 - betas[0] ** self.steps)
        spread = (second_RD / (1 - betas[1] ** self.steps)).sqrt_().add_(_EPSILON)
        self._table[0].weight[rows_R] -= (learning_rate * corrected / spread).to(self._table[0].weight.dtype)


def row_tables(model: nn.Module) -> list[RowItems]:
    """The row tables of a model, in a fixed order."""
    return [module for module in model.modules() if isinstance(module, RowItems)]


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
