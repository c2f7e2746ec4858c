"""Gated recurrent units over jagged windows, as torch packs them: no padding, but one step after the other.

Shapes: T tokens, D width, B windows.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.padded import Padded, padded
from ray_userrep.encoder.layers import Dropout, Norm, ZeroLinear
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import GRUConfig


class GRU(Backbone):
    """GRU4Rec's recurrence (Hidasi et al., ICLR 2016) between residual connections."""

    causal = True

    def __init__(self, config: GRUConfig, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(GRUBlock(width, config.dropout) for _ in range(config.num_layers))
        self.norm = Norm(width, "layer")

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        if torch.compiler.is_exporting():
            places = padded(batch)
            for block in self.blocks:
                x_TD = block(x_TD, places)
            return self.norm(x_TD)
        if batch.num_tokens == 0:
            return self.norm(x_TD)
        packed_T, sizes_L = packing(batch)
        x_TD = x_TD[packed_T]
        for block in self.blocks:
            x_TD = block(x_TD, torch.from_numpy(sizes_L))
        out_TD = torch.empty_like(x_TD).index_copy(0, packed_T, x_TD)
        return self.norm(out_TD)


class GRUBlock(nn.Module):
    """x + map(gru(norm(x)))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = Norm(width, "layer")
        self.gru = nn.GRU(width, width)
        self.out = ZeroLinear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x_TD: Tensor, order: Tensor | Padded) -> Tensor:
        """Of packed tokens and how many windows reach each place, or of tokens as they lie and their places.

        What is behind the end of a window changes nothing before it.
        """
        if isinstance(order, Padded):
            states_SBD, _ = self.gru(self.norm(x_TD)[order.source_BS.T])
            states_TD = states_SBD.transpose(0, 1).flatten(0, 1)[order.place_T]
        else:
            states_TD = self.gru(PackedSequence(self.norm(x_TD), order))[0].data
        return x_TD + self.dropout(self.out(states_TD))


def packing(batch: Batch) -> tuple[Tensor, NDArray[np.int64]]:
    """Tokens by place and then by falling length of window; and on the host, how many windows reach each place."""
    lengths_B = batch.lengths()
    rank_B = torch.argsort(torch.argsort(-lengths_B, stable=True))
    place_T = batch.positions()
    rank_T = batch.per_token(rank_B)
    packed_T = torch.argsort(place_T.long() * len(lengths_B) + rank_T)
    shortest_first = np.sort(np.diff(batch.bounds()))
    place_L = np.arange(shortest_first[-1])
    return packed_T, len(shortest_first) - np.searchsorted(shortest_first, place_L, side="right")
