"""Self-attention over jagged windows: valid tokens only, whatever the hardware offers.

On CPU, and in fp32 on GPU, windows are put into groups of near-equal length, each padded by at most an eighth of its
longest, and a few places that cost less than another group, and given to the fused SDPA kernel; nothing outside
attention ever sees a padded place. On GPU in half precision the varlen kernel takes the jagged layout as it is. The
layout is worked out once a batch, for all layers.

On CPU the groups are one autograd step, in fp32 whatever the precision: its kernel's gradient is four times slower in
half. The copy of q, k and v that groups are made of is turned in place, and its gradient goes back token by token
instead of being added up; the price is that two of torch's own operators are called by their names.

Shapes: T tokens, B windows, H heads, E head width, G windows of a group, S longest of a group, P places (G·S, summed).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder import device
from ray_userrep.encoder.backbones.padded import padded
from ray_userrep.encoder.backbones.rotary import rotate, turn_
from ray_userrep.feed.batch import Batch

_PADDED_SHARE = 1 / 8
_SPARE_NUMBERS = 4096  # of padding a group, which take about as long as another group would
_WIDEST = 256  # head that the varlen kernel takes


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
    padding: Tensor  # the places that are padding

    def at_places(self, x_T: Tensor) -> Tensor:
        """What is known of tokens, row for row as attention works: at each place, or as it is where it is jagged."""
        return x_T if self.groups is None else x_T.index_select(0, self.source_P)


def attention_layout(
    offsets_B1: Tensor,
    max_len: int,
    causal: bool,
    varlen: bool,
    host_B1: NDArray[np.int32] | None = None,
    spare: int = 0,
) -> AttentionLayout:
    """Work out a batch's layout; the varlen kernel needs no groups, and no offsets on the host (`host_B1`).

    A group may have so many `spare` places beyond its share of padding.
    """
    if varlen:
        return AttentionLayout(offsets_B1, max_len, causal, None, offsets_B1, offsets_B1, offsets_B1)
    offsets = (offsets_B1.cpu().numpy() if host_B1 is None else host_B1).astype(np.int64)
    lengths, place = np.diff(offsets), offsets_B1.device
    sources, paddings, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], np.empty(offsets[-1], np.int64)
    groups, before = [], 0
    for rows in _near_equal(lengths, spare):
        longest = int(lengths[rows].max())
        place_S = np.arange(longest)
        valid_GS = place_S < lengths[rows, None]
        source_GS = offsets[rows, None] + np.minimum(place_S, lengths[rows, None] - 1)
        places[source_GS[valid_GS]] = before + np.flatnonzero(valid_GS)
        # A causal query never reaches the padding on its right: only bidirectional attention needs a mask.
        masked = not causal and not valid_GS.all()
        visible = torch.from_numpy(valid_GS[:, None, None, :]).to(place, non_blocking=True) if masked else None
        groups.append(WindowGroup(len(rows), longest, visible))
        sources.append(source_GS.reshape(-1))
        paddings.append(before + np.flatnonzero(~valid_GS))
        before += source_GS.size
    made = (np.concatenate(sources), places, np.concatenate(paddings))
    copied = (torch.from_numpy(x).to(place, non_blocking=True) for x in made)
    return AttentionLayout(offsets_B1, max_len, causal, groups, *copied)


def layout_of(batch: Batch, causal: bool, varlen: bool, width: int | None = None) -> AttentionLayout:
    """A batch's layout; in a graph that is exported, one that does for all of them.

    Where attention is of so many numbers a token (`width`), groups that cost more than their padding are joined.
    """
    if not torch.compiler.is_exporting():
        host_B1 = None if varlen else batch.bounds()
        spare = 0 if width is None else _SPARE_NUMBERS // width
        return attention_layout(batch.offsets_B1, batch.max_len, causal, varlen, host_B1, spare)
    source_BS, is_there_BS, place_T = padded(batch)
    group = WindowGroup(source_BS.shape[0], batch.max_len, None if causal else is_there_BS[:, None, None])
    padding = place_T[:0]  # no gradients are asked for
    return AttentionLayout(batch.offsets_B1, batch.max_len, causal, [group], source_BS.flatten(), place_T, padding)


def has_varlen(x: Tensor, head_width: int) -> bool:
    """Whether the varlen kernel takes this: half precision on GPU, heads a multiple of eight wide, and not too wide."""
    half = x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type)
    return device.on_gpu(x) and half and head_width % 8 == 0 and head_width <= _WIDEST


def attend(qkv_T3HE: Tensor, layout: AttentionLayout, turn_PF2: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention inside each window, `[T, H, E]`; q and k are turned first, by a turn a place."""
    if layout.groups is None:
        return _varlen(qkv_T3HE if turn_PF2 is None else rotate(qkv_T3HE, turn_PF2), layout)
    if device.on_gpu(qkv_T3HE) or torch.compiler.is_exporting():
        return _grouped(qkv_T3HE, layout, turn_PF2)
    attended: Tensor = _Grouped.apply(qkv_T3HE, layout, turn_PF2)
    return attended


def _grouped(qkv_T3HE: Tensor, layout: AttentionLayout, turn_PF2: Tensor | None) -> Tensor:
    qkv_P3HE = layout.at_places(qkv_T3HE)
    if turn_PF2 is not None:
        qkv_P3HE = rotate(qkv_P3HE, turn_PF2)
    outs = [qkv_P3HE[:0, 0]]  # so that a batch of empty windows has something to join
    for group, part_3GHSE in _parts(qkv_P3HE, layout):
        q, k, v = part_3GHSE
        out_GHSE = F.scaled_dot_product_attention(q, k, v, attn_mask=group.visible, is_causal=layout.causal)
        outs.append(out_GHSE.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, layout.place_T)


def _parts(x_P3HE: Tensor, layout: AttentionLayout) -> Iterator[tuple[WindowGroup, Tensor]]:
    """Each group's places, `[3, G, H, S, E]`, seen where they lie."""
    groups = layout.groups or []
    sizes = [group.num_windows * group.longest for group in groups]
    for group, part in zip(groups, x_P3HE.split(sizes), strict=True):
        yield group, part.unflatten(0, (group.num_windows, group.longest)).permute(2, 0, 3, 1, 4)


class _Grouped(torch.autograd.Function):
    """The groups on CPU; equal to `_grouped`."""

    @staticmethod
    def forward(ctx, qkv_T3HE: Tensor, layout: AttentionLayout, turn_PF2: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.layout, ctx.dtype = layout, qkv_T3HE.dtype
        qkv_P3HE = _at_least_fp32(layout.at_places(qkv_T3HE))
        if turn_PF2 is not None:
            turn_(qkv_P3HE[:, :2], turn_PF2)
        outs, kept = [qkv_P3HE[:0, 0]], []
        for group, part_3GHSE in _parts(qkv_P3HE, layout):
            kept += _FLASH(*part_3GHSE, 0.0, layout.causal, attn_mask=_mask(group, qkv_P3HE))
            outs.append(kept[-2].transpose(1, 2).flatten(0, 1))
        ctx.save_for_backward(qkv_P3HE, turn_PF2, *kept)
        return torch.cat(outs).index_select(0, layout.place_T).to(ctx.dtype)

    @staticmethod
    def backward(ctx, grad_THE: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        qkv_P3HE, turn_PF2, *kept = ctx.saved_tensors
        layout: AttentionLayout = ctx.layout
        grad_PHE = _at_least_fp32(layout.at_places(grad_THE)).index_fill_(0, layout.padding, 0.0)
        grads_P3HE = torch.empty_like(qkv_P3HE)
        parts = zip(
            _parts(qkv_P3HE, layout), _parts(grads_P3HE, layout), _parts(grad_PHE[:, None], layout), strict=True
        )
        for number, ((group, part_3GHSE), (_, grads_3GHSE), (_, grad_1GHSE)) in enumerate(parts):
            out, log_total, mask = kept[2 * number], kept[2 * number + 1], _mask(group, qkv_P3HE)
            found = _FLASH_BACKWARD(grad_1GHSE[0], *part_3GHSE, out, log_total, 0.0, layout.causal, attn_mask=mask)
            for into, of in zip(grads_3GHSE, found, strict=True):
                into.copy_(of)
        if turn_PF2 is not None:
            turn_(grads_P3HE[:, :2], turn_PF2, back=True)
        return grads_P3HE.index_select(0, layout.place_T).to(ctx.dtype), None, None


_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _at_least_fp32(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x


def _mask(group: WindowGroup, like: Tensor) -> Tensor | None:
    """What is added to the scores of a group of which some places are hidden, `[G, 1, 1, S]`."""
    if group.visible is None:
        return None
    return like.new_zeros(group.visible.shape).masked_fill_(~group.visible, float("-inf"))


def _varlen(qkv_T3HE: Tensor, layout: AttentionLayout) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # the module needs a CUDA build

    offsets, longest = layout.offsets_B1, layout.max_len
    window = (-1, 0) if layout.causal else (-1, -1)
    q, k, v = qkv_T3HE.unbind(1)
    out = varlen_attn(q, k, v, offsets, offsets, longest, longest, window_size=window)
    assert isinstance(out, Tensor)
    return out


def _near_equal(lengths_B: NDArray[np.int64], spare: int) -> list[NDArray[np.int64]]:
    """Windows by length, cut where a group would be padded by more than its share and what is spare; empty windows are
    left out.
    """
    order = np.argsort(-lengths_B, kind="stable")
    order = order[lengths_B[order] > 0]
    descending = lengths_B[order]
    groups, first = [], 0
    while first < len(order):
        shortest = descending[first] * (1 - _PADDED_SHARE)
        last = first + int(np.searchsorted(-descending[first:], -shortest, side="right"))
        last += int(np.searchsorted(np.cumsum(descending[first] - descending[last:]), spare, side="right"))
        groups.append(order[first:last])
        first = last
    return groups
