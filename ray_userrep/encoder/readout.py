"""From the states of a window to one user vector.

Each readout is also known at every place, as if that were the newest: what is learned there is learned for the vector
that is read out later. That takes running sums and maxima in place of plain ones.

Shapes: T tokens, B windows, D width.
"""

from dataclasses import replace
from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn

from ray_userrep.encoder.layers import Linear
from ray_userrep.encoder.running import running
from ray_userrep.feed.batch import CLS, MASK, TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import ReadoutKind

APPENDED: dict[ReadoutKind, int] = {"cls": CLS, "mask": MASK}


class Attention(nn.Module):
    """How much each state counts: a softmax over the window, of the products of keys with one learned query.

    The query starts at zero and weighs all states alike: attention is their mean at first. Keys are bounded (tanh), and
    so are exponentials of the products: the softmax is a division of two sums, which running sums can take part in.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.keys = Linear(width, width)
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, states_TD: Tensor) -> Tensor:
        """Each state times its weight, and the weight last, `[T, D + 1]`; sums of these make the vector."""
        score_T = self.keys(states_TD).float().tanh() @ self.query.float() * len(self.query) ** -0.5
        weight_T1 = score_T.exp()[:, None]
        return torch.cat([states_TD * weight_T1, weight_T1], 1)


def readout(states_TD: Tensor, offsets_B1: Tensor, kind: ReadoutKind, attention: Attention | None = None) -> Tensor:
    """The newest position's state, or the mean, maximum or weighted mean of all, `[B, D]`; an empty window gives zeros.

    For `cls` and `mask` the newest position is the token that `append_token` put there.
    """
    lengths_B = offsets_B1.diff()
    match kind:
        case "mean" | "whole":
            return window_sums(states_TD, offsets_B1) / lengths_B.clamp(min=1)[:, None]
        case "attention":
            assert attention is not None, "built with the encoder"
            return _weighted(window_sums(attention(states_TD), offsets_B1))
        case "max":
            return _window_maxima(states_TD, offsets_B1)
        case "last" | "cls" | "mask":
            padded_TD = torch.cat([states_TD, states_TD.new_zeros(1, states_TD.shape[1])])
            return padded_TD[torch.where(lengths_B > 0, offsets_B1[1:] - 1, states_TD.shape[0]).long()]
        case "bag":
            raise AssertionError("a bag is no readout of states")
        case never:
            assert_never(never)


def readout_so_far(states_TD: Tensor, batch: Batch, kind: ReadoutKind, attention: Attention | None) -> Tensor:
    """What each place of a window is read out at as if it were the newest, `[T, D]`."""
    place_T = batch.positions()
    match kind:
        case "last":
            return states_TD
        case "mean" | "whole":
            return running(torch.add, states_TD.float(), place_T, batch.max_len) / (place_T + 1)[:, None]
        case "attention":
            assert attention is not None, "built with the encoder"
            return _weighted(running(torch.add, attention(states_TD), place_T, batch.max_len))
        case "max":
            return running(torch.maximum, states_TD, place_T, batch.max_len)
        case "cls" | "mask" | "bag":
            raise AssertionError(f"{kind} is no readout of the states so far")
        case never:
            assert_never(never)


def _weighted(sums_BD1: Tensor) -> Tensor:
    """Weighted means from sums of weighted states and of weights; zeros where there are none."""
    return sums_BD1[:, :-1] / sums_BD1[:, -1:].clamp(min=torch.finfo(torch.float32).tiny)


def window_sums(x_TD: Tensor, offsets_B1: Tensor) -> Tensor:
    """The sum over each window, `[B, D]`."""
    return x_TD.new_zeros(offsets_B1.shape[0] - 1, x_TD.shape[1]).index_add(0, _window_of(x_TD, offsets_B1), x_TD)


def _window_maxima(x_TD: Tensor, offsets_B1: Tensor) -> Tensor:
    """The largest of each number over each window, `[B, D]`; zeros for an empty one."""
    lowest_BD = x_TD.new_full((offsets_B1.shape[0] - 1, x_TD.shape[1]), float("-inf"))
    place_TD = _window_of(x_TD, offsets_B1)[:, None].expand_as(x_TD)
    maxima_BD = lowest_BD.scatter_reduce(0, place_TD, x_TD, "amax")
    return torch.where(offsets_B1.diff()[:, None] > 0, maxima_BD, 0)


def _window_of(x_TD: Tensor, offsets_B1: Tensor) -> Tensor:
    """The window of each token, `[T]`."""
    windows_B = torch.arange(offsets_B1.shape[0] - 1, device=x_TD.device)
    return torch.repeat_interleave(windows_B, offsets_B1.diff(), output_size=x_TD.shape[0])


def append_token(batch: Batch, value: int) -> Batch:
    """The batch with one more token at the end of each window that has any, at the time of the one before it."""
    grown = _not_empty(batch)
    grown_B = torch.zeros_like(batch.offsets_B1[1:]).index_fill(0, grown, 1)
    shift_B1 = torch.cat([grown_B.new_zeros(1), grown_B.cumsum(0, dtype=grown_B.dtype)])
    offsets_B1 = batch.offsets_B1 + shift_B1
    ends = (offsets_B1[1:] - 1)[grown].long()
    num_tokens = batch.num_tokens + grown.shape[0]
    old = torch.arange(batch.num_tokens, device=ends.device) + batch.per_token(shift_B1[:-1])

    def longer(column_T: Tensor, filling: Tensor | float) -> Tensor:
        out = column_T.new_empty(num_tokens)
        out[old] = column_T
        return out.index_copy(0, ends, filling) if isinstance(filling, Tensor) else out.index_fill(0, ends, filling)

    newest = (batch.offsets_B1[1:] - 1)[grown].long()
    side = {}
    for name, column_T in batch.side.items():
        unknown = float("nan") if column_T.is_floating_point() else 0
        side[name] = longer(column_T, column_T[newest] if name == TIMESTAMPS else unknown)
    host_B1 = batch.host_B1
    if host_B1 is not None:
        host_B1 = host_B1 + np.cumsum(np.append(0, np.diff(host_B1) > 0), dtype=np.int32)
    return replace(
        batch,
        values_T=longer(batch.values_T, value),
        offsets_B1=offsets_B1,
        max_len=batch.max_len + 1,
        side=side,
        host_B1=host_B1,
        ahead={},
    )


def _not_empty(batch: Batch) -> Tensor:
    """Which windows have anything; those of a graph that is exported all have, as how many is nothing it could know."""
    none_is_empty = batch.host_B1 is not None and (np.diff(batch.host_B1) > 0).all()
    if none_is_empty or torch.compiler.is_exporting():
        return torch.arange(batch.offsets_B1.shape[0] - 1, device=batch.offsets_B1.device)
    return batch.lengths().nonzero()[:, 0]
