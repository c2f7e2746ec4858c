"""Dilated convolutions over jagged windows: few layers see far, and all places are worked on at once.

A convolution gathers each token's taps and multiplies them in one product: no window is padded, at the price of a copy
of the input for each tap.

Shapes: T tokens, D width, K taps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.layers import Dropout, Linear, Norm, ZeroLinear
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import CNNConfig

_TAPS = 3


class DilatedCNN(Backbone):
    """Residual blocks of NextItNet (Yuan et al., WSDM 2019); with centred taps the encoder of GRec (WWW 2020)."""

    def __init__(self, config: CNNConfig, width: int) -> None:
        super().__init__()
        self.causal = config.causal
        dilations = [config.dilations[i % len(config.dilations)] for i in range(config.num_blocks)]
        self.blocks = nn.ModuleList(ConvBlock(width, dilation, config) for dilation in dilations)
        self.norm = Norm(width, "layer")

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        place_T, length_T = batch.positions(), batch.per_token(batch.lengths())
        for block in self.blocks:
            x_TD = block(x_TD, place_T, length_T)
        return self.norm(x_TD)


class ConvBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), the second convolution twice as dilated."""

    def __init__(self, width: int, dilation: int, config: CNNConfig) -> None:
        super().__init__()
        self._newest = 0 if config.causal else -1  # how many dilations back the newest tap lies
        self._dilation = dilation
        self.first_norm, self.second_norm = Norm(width, "layer"), Norm(width, "layer")
        self.first = Linear(_TAPS * width, width)
        self.second = ZeroLinear(_TAPS * width, width)
        self.dropout = Dropout(config.dropout)

    @property
    def own_tap(self) -> int:
        """Which tap of a convolution is the token itself."""
        return -self._newest

    def forward(self, x_TD: Tensor, place_T: Tensor, length_T: Tensor) -> Tensor:
        h_TD = self._convolve(self.first_norm(x_TD), self.first, self._dilation, place_T, length_T)
        h_TD = self._convolve(self.second_norm(h_TD), self.second, 2 * self._dilation, place_T, length_T)
        return x_TD + self.dropout(h_TD)

    def _convolve(self, x_TD: Tensor, map: nn.Module, dilation: int, place_T: Tensor, length_T: Tensor) -> Tensor:
        # Made on the device: a list copied there would make the host wait, once a convolution.
        back_K = (torch.arange(_TAPS, device=x_TD.device) + self._newest) * dilation
        source_TK = place_T[:, None] - back_K
        is_inside_TK = (source_TK >= 0) & (source_TK < length_T[:, None])
        token_TK = torch.arange(x_TD.shape[0], device=x_TD.device)[:, None] - back_K
        padded_TD = torch.cat([F.relu(x_TD), x_TD.new_zeros(1, x_TD.shape[1])])
        taps_TKD = padded_TD.index_select(0, torch.where(is_inside_TK, token_TK, x_TD.shape[0]).flatten())
        out: Tensor = map(taps_TKD.view(x_TD.shape[0], _TAPS * x_TD.shape[1]))
        return out
