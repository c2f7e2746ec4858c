"""HSTU: attention without a softmax, gated item by item, that knows how far apart two interactions are in time.

Weights are pointwise, so that how often something was done counts, not only which of it stands out. Scores of a group
of windows are held whole, for their biases: memory grows with the square of the window.

Shapes: T tokens, D width, H heads, E head width, G windows of a group, S longest of a group.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones.attention import AttentionLayout, WindowGroup, layout_of
from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.layers import Dropout, Linear, Norm, ZeroLinear
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import HSTUConfig

_TIME_BUCKETS = 64
_HIDDEN = -1e4  # a score whose silu, and its derivative, are zero exactly
_BUCKETS_PER_DOUBLING = 2
_SECOND = 10**6


class HSTU(Backbone):
    """Stacked units (Zhai et al., ICML 2024, eq. 1-3), between residual connections."""

    def __init__(self, config: HSTUConfig, width: int, max_len: int) -> None:
        super().__init__()
        self.causal = config.causal
        self._time_bias = config.time_bias
        self.units = nn.ModuleList(HSTUUnit(config, width, max_len) for _ in range(config.num_layers))
        self.norm = Norm(width, "layer")

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        layout = layout_of(batch, self.causal, varlen=False)
        times_T = batch.side.get(TIMESTAMPS) if self._time_bias else None
        buckets = [None] * len(layout.groups or ()) if times_T is None else _time_buckets(times_T, layout)
        for unit in self.units:
            x_TD = unit(x_TD, layout, buckets)
        return self.norm(x_TD)


class HSTUUnit(nn.Module):
    """x + map(norm(attention) * u), with u, v, q and k one map of norm(x)."""

    def __init__(self, config: HSTUConfig, width: int, max_len: int) -> None:
        super().__init__()
        self._num_heads, self._max_len, self._causal = config.num_heads, max_len, config.causal
        self.in_norm, self.out_norm = Norm(width, "layer"), Norm(width, "layer")
        self.uvqk = Linear(width, 4 * width)
        self.out = ZeroLinear(width, width)
        self.position_bias = nn.Parameter(torch.zeros(2 * max_len - 1))
        self.time_bias = nn.Parameter(torch.zeros(_TIME_BUCKETS)) if config.time_bias else None
        self.dropout = Dropout(config.dropout)

    def forward(self, x_TD: Tensor, layout: AttentionLayout, buckets: list[Tensor | None]) -> Tensor:
        u_TD, vqk_T3D = F.silu(self.uvqk(self.in_norm(x_TD))).split([x_TD.shape[1], 3 * x_TD.shape[1]], -1)
        mixed_TD = self._attend(vqk_T3D.unflatten(-1, (3, self._num_heads, -1)), layout, buckets)
        return x_TD + self.dropout(self.out(self.out_norm(mixed_TD) * u_TD))

    def _attend(self, vqk_T3HE: Tensor, layout: AttentionLayout, buckets: list[Tensor | None]) -> Tensor:
        assert layout.groups is not None
        vqk_P3HE = vqk_T3HE.index_select(0, layout.source_P)
        sizes = [group.num_windows * group.longest for group in layout.groups]
        outs = [vqk_P3HE[:0, 0].flatten(1)]
        for group, part, bucket_GSS in zip(layout.groups, vqk_P3HE.split(sizes), buckets, strict=True):
            v, q, k = part.unflatten(0, (group.num_windows, group.longest)).permute(2, 0, 3, 1, 4)
            # Scales go on q and v, and what is hidden into the bias: a pass over all pairs costs as much as a product.
            scores_GHSS = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + self._bias(group, bucket_GSS)
            outs.append((F.silu(scores_GHSS) @ (v / self._max_len)).transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(outs).index_select(0, layout.place_T)

    def _bias(self, group: WindowGroup, bucket_GSS: Tensor | None) -> Tensor:
        """The bias of each pair by how far back the second lies, in places and in time, `[G or 1, 1, S, S]`."""
        place_S = torch.arange(group.longest, device=self.position_bias.device)
        behind_SS = place_S[:, None] - place_S
        bias = self.position_bias[behind_SS + self._max_len - 1][None, None]
        if self._causal:
            bias = bias.masked_fill(behind_SS < 0, _HIDDEN)
        elif group.visible is not None:
            bias = bias.masked_fill(~group.visible, _HIDDEN)
        if self.time_bias is not None and bucket_GSS is not None:
            bias = bias + self.time_bias[bucket_GSS][:, None]
        return bias


def _time_buckets(times_T: Tensor, layout: AttentionLayout) -> list[Tensor | None]:
    """For each group, the seconds between two interactions in steps of half a doubling, `[G, S, S]`."""
    assert layout.groups is not None
    times_P = times_T.index_select(0, layout.source_P)
    sizes = [group.num_windows * group.longest for group in layout.groups]
    buckets: list[Tensor | None] = []
    for group, part in zip(layout.groups, times_P.split(sizes), strict=True):
        times_GS = part.view(group.num_windows, group.longest)
        seconds_GSS = (times_GS[:, :, None] - times_GS[:, None]).abs() // _SECOND
        bucket_GSS = (_BUCKETS_PER_DOUBLING * torch.log2(1 + seconds_GSS.float())).long()
        buckets.append(bucket_GSS.clamp(max=_TIME_BUCKETS - 1))
    return buckets
