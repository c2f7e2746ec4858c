"""The floor: the mean of the items so far through a small network, blind to their order.

Few parameters, no attention and no recurrence: what a backbone must beat to be worth its time.

Shapes: T tokens, D width.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.transformer import GELU
from ray_userrep.encoder.layers import Dropout, Norm
from ray_userrep.encoder.running import running
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import MeanConfig

_MULT = 4.0


class Mean(Backbone):
    """The running mean, or the whole window's, and residual layers."""

    def __init__(self, config: MeanConfig, width: int) -> None:
        super().__init__()
        self.causal = config.causal
        self.norms = nn.ModuleList(Norm(width, "layer") for _ in range(config.num_layers))
        self.layers = nn.ModuleList(GELU(width, _MULT) for _ in range(config.num_layers))
        self.dropout = Dropout(config.dropout)
        self.norm = Norm(width, "layer")

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        x_TD = self._mean(x_TD, batch)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x_TD = x_TD + self.dropout(layer(norm(x_TD)))
        return self.norm(x_TD)

    def _mean(self, x_TD: Tensor, batch: Batch) -> Tensor:
        place_T = batch.positions()
        exact_TD = x_TD.to(torch.promote_types(x_TD.dtype, torch.float32))
        sums_TD = running(torch.add, exact_TD, place_T, batch.max_len)
        means_TD = (sums_TD / (place_T + 1)[:, None]).to(x_TD.dtype)
        if self.causal:
            return means_TD
        return means_TD.index_select(0, batch.per_token(batch.offsets_B1[1:] - 1))
