"""The pre-norm Transformer backbone on jagged input.

Pre-norm stays trainable at any depth. Rotary positions depend on distances only, so that a window cut out of a long
history reads the same wherever it was cut.

Shapes: T tokens, D width, H heads, E head width, F hidden width of the feed-forward or pairs of a
head, P places that attention works on, G both halves of a gated feed-forward (2F).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.encoder.backbones.attention import AttentionLayout, attend, has_varlen, layout_of
from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.rotary import rotary_turn
from ray_userrep.encoder.layers import Dropout, Linear, Norm, ZeroLinear
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import TransformerConfig


class Transformer(Backbone):
    """Blocks of attention and feed-forward between residual connections, and a norm at the end."""

    def __init__(self, config: TransformerConfig, width: int, max_len: int) -> None:
        super().__init__()
        self.causal = config.causal
        self.head_width = width // config.num_heads
        self.positions = LearnedPositions(max_len, width) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(TransformerBlock(config, width) for _ in range(config.num_layers))
        self.norm = Norm(width, config.norm)

    def forward(self, x_TD: Tensor, batch: Batch) -> Tensor:
        """States of every token, `[T, D]`."""
        layout = layout_of(batch, self.causal, has_varlen(x_TD, self.head_width), x_TD.shape[1])
        position_T = batch.positions()
        if self.positions is None:
            turn_PF2 = rotary_turn(layout.at_places(position_T), self.head_width)
        else:
            x_TD, turn_PF2 = x_TD + self.positions(position_T), None
        for block in self.blocks:
            x_TD = block(x_TD, layout, turn_PF2)
        return self.norm(x_TD)


class LearnedPositions(nn.Module):
    """One trained vector a position in the window."""

    def __init__(self, max_len: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_len, width) * 0.02)

    def forward(self, position_T: Tensor) -> Tensor:
        return F.embedding(position_T, self.weight)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)); a gate is the sigmoid of a map of x (LiGR)."""

    def __init__(self, config: TransformerConfig, width: int) -> None:
        super().__init__()
        self.attention_norm = Norm(width, config.norm)
        self.attention = Attention(width, config.num_heads)
        self.ffn_norm = Norm(width, config.norm)
        self.ffn = SwiGLU(width, config.ffn_mult) if config.ffn == "swiglu" else GELU(width, config.ffn_mult)
        self.attention_gate = Linear(width, width) if config.gated else None
        self.ffn_gate = Linear(width, width) if config.gated else None
        self.dropout = Dropout(config.dropout)

    def forward(self, x_TD: Tensor, layout: AttentionLayout, turn_PF2: Tensor | None) -> Tensor:
        attended_TD = self.attention(self.attention_norm(x_TD), layout, turn_PF2)
        x_TD = x_TD + self._gated(x_TD, attended_TD, self.attention_gate)
        return x_TD + self._gated(x_TD, self.ffn(self.ffn_norm(x_TD)), self.ffn_gate)

    def _gated(self, x_TD: Tensor, branch_TD: Tensor, gate: nn.Module | None) -> Tensor:
        branch_TD = self.dropout(branch_TD)
        return branch_TD if gate is None else branch_TD * gate(x_TD).sigmoid()


class Attention(nn.Module):
    """Multi-head self-attention with one fused input map."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.out = ZeroLinear(width, width)

    def forward(self, x_TD: Tensor, layout: AttentionLayout, turn_PF2: Tensor | None) -> Tensor:
        qkv_T3HE = self.qkv(x_TD).unflatten(-1, (3, self.num_heads, -1))
        return self.out(attend(qkv_T3HE, layout, turn_PF2).flatten(1))


class SwiGLU(nn.Module):
    """Gated feed-forward (Shazeer 2020); two thirds of the hidden width, so that it costs what GELU's does."""

    def __init__(self, width: int, mult: float) -> None:
        super().__init__()
        hidden = max(8, round(width * mult * 2 / 3 / 8) * 8)
        self.up = Linear(width, 2 * hidden)
        self.down = ZeroLinear(hidden, width)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(_Gate.apply(self.up(x_TD)))


class _Gate(torch.autograd.Function):
    """silu(gate) * value of what is both, `[T, 2F]`: it alone is kept, and its gradient is written where it belongs."""

    @staticmethod
    def forward(ctx, up_TG: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(up_TG)
        gate_TF, value_TF = up_TG.chunk(2, -1)
        return F.silu(gate_TF).mul_(value_TF)

    @staticmethod
    def backward(ctx, grad_TF: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (up_TG,) = ctx.saved_tensors
        gate_TF, value_TF = up_TG.chunk(2, -1)
        grad_TG = torch.empty_like(up_TG)
        grad_gate_TF, grad_value_TF = grad_TG.chunk(2, -1)
        torch.mul(grad_TF, F.silu(gate_TF), out=grad_value_TF)
        torch.ops.aten.silu_backward.grad_input(grad_TF * value_TF, gate_TF, grad_input=grad_gate_TF)
        return grad_TG


class GELU(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, mult: float) -> None:
        super().__init__()
        self.up = Linear(width, round(width * mult))
        self.down = ZeroLinear(round(width * mult), width)

    def forward(self, x_TD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_TD)))
