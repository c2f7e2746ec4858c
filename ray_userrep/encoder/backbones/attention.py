"""Self-attention over jagged windows: valid tokens only, whatever the hardware offers.

On CPU, and in fp32 on GPU, windows are put into groups of near-equal length, each padded by at most an eighth of its
longest and given to the fused SDPA kernel; nothing outside attention ever sees a padded place. On GPU in half
precision the varlen kernel takes the jagged layout as it is. The layout is worked out once a batch, for all layers.

Shapes: T tokens, B windows, H heads, E head width, G windows of a group, S longest of a group, P places (G·S, summed).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder.backbones.padded import padded
from ray_userrep.feed.batch import Batch

_PADDED_SHARE = 1 / 8


class WindowGroup(NamedTuple):
    """Windows attended to together."""

    num_windows: int
    longest: int
    visible: Tensor | None  # [G, 1, 1, S] places that may be seen, where a mask is needed


class AttentionLayout(NamedTuple):
    """How a batch's tokens are attended to: group after group, or jagged as they are (no groups)."""

    offsets_B1: Tensor
    max_len: int
    causal: bool
    groups: list[WindowGroup] | None
    source_P: Tensor  # token of each place; padding repeats its window's last token
    place_T: Tensor  # place of each token


def attention_layout(
    offsets_B1: Tensor, max_len: int, causal: bool, varlen: bool, host_B1: NDArray[np.int32] | None = None
) -> AttentionLayout:
    """Work out a batch's layout; the varlen kernel needs no groups, and no offsets on the host (`host_B1`)."""
    if varlen:
        return AttentionLayout(offsets_B1, max_len, causal, None, offsets_B1, offsets_B1)
    offsets = (offsets_B1.cpu().numpy() if host_B1 is None else host_B1).astype(np.int64)
    lengths, device = np.diff(offsets), offsets_B1.device
    sources, places, groups, before = [np.zeros(0, np.int64)], np.empty(offsets[-1], np.int64), [], 0
    for rows in _near_equal(lengths):
        longest = int(lengths[rows].max())
        place_S = np.arange(longest)
        valid_GS = place_S < lengths[rows, None]
        source_GS = offsets[rows, None] + np.minimum(place_S, lengths[rows, None] - 1)
        places[source_GS[valid_GS]] = before + np.flatnonzero(valid_GS)
        # A causal query never reaches the padding on its right: only bidirectional attention needs a mask.
        masked = not causal and not valid_GS.all()
        visible = torch.from_numpy(valid_GS[:, None, None, :]).to(device, non_blocking=True) if masked else None
        groups.append(WindowGroup(len(rows), longest, visible))
        sources.append(source_GS.reshape(-1))
        before += source_GS.size
    source_P = torch.from_numpy(np.concatenate(sources)).to(device, non_blocking=True)
    place_T = torch.from_numpy(places).to(device, non_blocking=True)
    return AttentionLayout(offsets_B1, max_len, causal, groups, source_P, place_T)


def layout_of(batch: Batch, causal: bool, varlen: bool) -> AttentionLayout:
    """A batch's layout; in a graph that is exported, one that does for all of them."""
    if not torch.compiler.is_exporting():
        host_B1 = None if varlen else batch.bounds()
        return attention_layout(batch.offsets_B1, batch.max_len, causal, varlen, host_B1)
    source_BS, is_there_BS, place_T = padded(batch)
    group = WindowGroup(source_BS.shape[0], batch.max_len, None if causal else is_there_BS[:, None, None])
    return AttentionLayout(batch.offsets_B1, batch.max_len, causal, [group], source_BS.flatten(), place_T)


def has_varlen(x: Tensor, head_width: int) -> bool:
    """Whether the varlen kernel takes this input: half precision on GPU, heads a multiple of eight wide."""
    half = x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type)
    return x.is_cuda and half and head_width % 8 == 0


def attend(qkv_T3HE: Tensor, layout: AttentionLayout) -> Tensor:
    """Scaled dot-product attention inside each window, `[T, H, E]`."""
    if layout.groups is None:
        return _varlen(qkv_T3HE, layout)
    qkv_P3HE = qkv_T3HE.index_select(0, layout.source_P)
    sizes = [group.num_windows * group.longest for group in layout.groups]
    outs = [qkv_P3HE[:0, 0]]  # so that a batch of empty windows has something to join
    for group, part in zip(layout.groups, qkv_P3HE.split(sizes), strict=True):
        q, k, v = part.unflatten(0, (group.num_windows, group.longest)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=group.visible, is_causal=layout.causal)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, layout.place_T)


def _varlen(qkv_T3HE: Tensor, layout: AttentionLayout) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # the module needs a CUDA build

    offsets, longest = layout.offsets_B1, layout.max_len
    window = (-1, 0) if layout.causal else (-1, -1)
    q, k, v = qkv_T3HE.unbind(1)
    out = varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=window)
    assert isinstance(out, Tensor)
    return out


def _near_equal(lengths_B: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Windows by length, cut where a group would be padded by more than its share; empty windows are left out."""
    order = np.argsort(-lengths_B, kind="stable")
    order = order[lengths_B[order] > 0]
    descending = lengths_B[order]
    groups, first = [], 0
    while first < len(order):
        shortest = descending[first] * (1 - _PADDED_SHARE)
        last = first + int(np.searchsorted(-descending[first:], -shortest, side="right"))
        groups.append(order[first:last])
        first = last
    return groups
