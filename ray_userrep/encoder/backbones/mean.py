"""The floor: the mean of the items so far through a small network, blind to their order.

Sums grow by doubling spans inside each window: more additions than one running sum over the whole batch, which would
carry the rounding of every window into those behind it.

Shapes: T tokens, D width.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.transformer import GELU
from ray_userrep.encoder.layers import Dropout, Norm
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
        sums_TD = _running_sums(x_TD.to(torch.promote_types(x_TD.dtype, torch.float32)), place_T, batch.max_len)
        means_TD = (sums_TD / (place_T + 1)[:, None]).to(x_TD.dtype)
        if self.causal:
            return means_TD
        return means_TD.index_select(0, batch.per_token(batch.offsets_B1[1:] - 1))


def _running_sums(x_TD: Tensor, place_T: Tensor, max_len: int) -> Tensor:
    """Each token's sum over its window so far (Hillis and Steele 1986); a span doubles until it covers any window."""
    span = 1
    while span < max_len:
        before_TD = torch.where((place_T >= span)[span:, None], x_TD[:-span], 0)
        x_TD = torch.cat([x_TD[:span], x_TD[span:] + before_TD])
        span *= 2
    return x_TD
