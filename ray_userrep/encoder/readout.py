"""From the states of a window to one user vector.

Shapes: T tokens, B windows, D width.
"""

from typing import Literal

import torch
from torch import Tensor


def readout(states_TD: Tensor, offsets_B1: Tensor, kind: Literal["last", "mean"]) -> Tensor:
    """The newest position's state, or the mean of all, `[B, D]`; an empty window gives zeros."""
    lengths_B = offsets_B1.diff()
    if kind == "last":
        padded_TD = torch.cat([states_TD, states_TD.new_zeros(1, states_TD.shape[1])])
        return padded_TD[torch.where(lengths_B > 0, offsets_B1[1:] - 1, states_TD.shape[0]).long()]
    window_T = torch.repeat_interleave(
        torch.arange(len(lengths_B), device=states_TD.device), lengths_B, output_size=states_TD.shape[0]
    )
    sums_BD = states_TD.new_zeros(len(lengths_B), states_TD.shape[1]).index_add(0, window_T, states_TD)
    return sums_BD / lengths_B.clamp(min=1)[:, None]
