"""The floor: the mean of the items so far through a small network, blind to their order.

Shapes: T tokens, D width.
"""

import torch
from torch import Tensor, nn

from ray_userrep.corpus.batch import Batch
from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.transformer import GELU, positions_of
from ray_userrep.encoder.config import MeanConfig
from ray_userrep.encoder.layers import Dropout, Norm

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
        num_tokens, lengths_B = x_TD.shape[0], batch.lengths()
        # In double precision: sums over the whole batch lose what single precision cannot hold.
        sums_TD = torch.cat([x_TD.new_zeros(1, x_TD.shape[1], dtype=torch.float64), x_TD.double().cumsum(0)])
        begin_T = torch.repeat_interleave(batch.offsets_B1[:-1], lengths_B, output_size=num_tokens).long()
        if self.causal:
            end_T = torch.arange(1, num_tokens + 1, device=x_TD.device)
            count_T = positions_of(batch.offsets_B1, num_tokens) + 1
        else:
            end_T = torch.repeat_interleave(batch.offsets_B1[1:], lengths_B, output_size=num_tokens).long()
            count_T = torch.repeat_interleave(lengths_B, lengths_B, output_size=num_tokens)
        return ((sums_TD[end_T] - sums_TD[begin_T]) / count_T[:, None]).to(x_TD.dtype)
