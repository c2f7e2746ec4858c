"""Adam for tables whose gradients are rows: only what a step has read is exchanged and updated.

Moments of rows that were not read do not decay (as in torch's SparseAdam): an update costs what the batch holds, not
what the catalogue does.

Shapes: N rows read by all ranks, R of them distinct, V items, D width.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.items.rows import RowItems
from ray_userrep.objectives.base import Gather

_EPSILON = 1e-8


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
    def step(self, learning_rate: float, world: int, gather: Gather) -> None:
        """Update the rows that any rank has read; gradients are averaged over ranks, as those of parameters are."""
        betas = self._betas
        ids_N, gradients_ND = self._table[0].take_gradients()
        all_ids, _ = gather(ids_N)
        all_gradients, _ = gather(gradients_ND)
        rows_R, place_N = torch.unique(all_ids, return_inverse=True)
        g_RD = torch.zeros(len(rows_R), gradients_ND.shape[1], device=gradients_ND.device)
        g_RD = g_RD.index_add(0, place_N, all_gradients.float()) / world
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
