"""From the states of a window to one user vector.

Shapes: T tokens, B windows, D width.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ray_userrep.feed.batch import CLS, MASK, TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import ReadoutKind

APPENDED: dict[ReadoutKind, int] = {"cls": CLS, "mask": MASK}


def readout(states_TD: Tensor, offsets_B1: Tensor, kind: ReadoutKind) -> Tensor:
    """The newest position's state, or the mean of all, `[B, D]`; an empty window gives zeros.

    For `cls` and `mask` the newest position is the token that `append_token` put there.
    """
    assert kind != "bag", "a bag is no readout of states"
    lengths_B = offsets_B1.diff()
    if kind in ("mean", "whole"):
        return window_sums(states_TD, offsets_B1) / lengths_B.clamp(min=1)[:, None]
    padded_TD = torch.cat([states_TD, states_TD.new_zeros(1, states_TD.shape[1])])
    return padded_TD[torch.where(lengths_B > 0, offsets_B1[1:] - 1, states_TD.shape[0]).long()]


def window_sums(x_TD: Tensor, offsets_B1: Tensor) -> Tensor:
    """The sum over each window, `[B, D]`."""
    lengths_B = offsets_B1.diff()
    window_T = torch.repeat_interleave(
        torch.arange(len(lengths_B), device=x_TD.device), lengths_B, output_size=x_TD.shape[0]
    )
    return x_TD.new_zeros(len(lengths_B), x_TD.shape[1]).index_add(0, window_T, x_TD)


def append_token(batch: Batch, value: int) -> Batch:
    """The batch with one more token at the end of each window that has any, at the time of the one before it."""
    grown_B = (batch.lengths() > 0).to(batch.offsets_B1.dtype)
    shift_B1 = torch.cat([grown_B.new_zeros(1), grown_B.cumsum(0, dtype=grown_B.dtype)])
    offsets_B1 = batch.offsets_B1 + shift_B1
    ends = (offsets_B1[1:] - 1)[grown_B.bool()].long()
    is_old_T = torch.ones(batch.num_tokens + len(ends), dtype=torch.bool, device=ends.device)
    is_old_T[ends] = False
    old = is_old_T.nonzero()[:, 0]

    def grown(column_T: Tensor, filling: Tensor | float) -> Tensor:
        out = column_T.new_empty(len(is_old_T))
        out[old] = column_T
        out[ends] = torch.as_tensor(filling, dtype=column_T.dtype, device=column_T.device)
        return out

    newest = (batch.offsets_B1[1:] - 1)[grown_B.bool()].long()
    side = {}
    for name, column_T in batch.side.items():
        unknown = float("nan") if column_T.is_floating_point() else 0
        side[name] = grown(column_T, column_T[newest] if name == TIMESTAMPS else unknown)
    return replace(
        batch, values_T=grown(batch.values_T, value), offsets_B1=offsets_B1, max_len=batch.max_len + 1, side=side
    )
