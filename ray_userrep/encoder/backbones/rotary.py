"""Rotary positions: q and k are turned by angles that grow with the place, so that scores depend on distances only.

Turns are kept as cosines and sines in fp32, worked out once a batch for all layers: they cost little, and leave no
buffer to rebuild when weights are loaded. Pairs are neighbouring coordinates, as in the paper.

Shapes: T tokens, H heads, E head width, F pairs of a head (E/2).
"""

import torch
from torch import Tensor

_BASE = 10_000.0


def rotary_turn(position_T: Tensor, head_width: int) -> Tensor:
    """Cosine and sine of each pair's angle, `[T, F, 2]` (Su et al. 2021, RoFormer, eq. 15)."""
    exponent = torch.arange(0, head_width, 2, device=position_T.device) / head_width
    angle_TF = position_T[:, None].float() * _BASE**-exponent
    return torch.stack([angle_TF.cos(), angle_TF.sin()], -1)


def rotate(qkv_T3HE: Tensor, turn_TF2: Tensor) -> Tensor:
    """The same with q and k turned."""
    turned: Tensor = _Rotate.apply(qkv_T3HE, turn_TF2)
    return turned


class _Rotate(torch.autograd.Function):
    """Written straight into the result, forward and backward: it saves GPUs most of the traffic of plain operators."""

    @staticmethod
    def forward(ctx, qkv_T3HE: Tensor, turn_TF2: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(turn_TF2)
        return _rotated(qkv_T3HE, turn_TF2, 1)

    @staticmethod
    def backward(ctx, grad_T3HE: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (turn_TF2,) = ctx.saved_tensors
        return _rotated(grad_T3HE, turn_TF2, -1), None


def _rotated(qkv_T3HE: Tensor, turn_TF2: Tensor, direction: int) -> Tensor:
    out_T3HE = torch.empty_like(qkv_T3HE)
    out_T3HE[:, 2] = qkv_T3HE[:, 2]
    cos, sin = turn_TF2[:, None, None].unbind(-1)
    x, y = qkv_T3HE[:, :2].unflatten(-1, (-1, 2)).unbind(-1)
    out_x, out_y = out_T3HE[:, :2].unflatten(-1, (-1, 2)).unbind(-1)
    torch.mul(x, cos, out=out_x).addcmul_(y, sin, value=-direction)
    torch.mul(y, cos, out=out_y).addcmul_(x, sin, value=direction)
    return out_T3HE


def turn_(qk_T2HE: Tensor, turn_TF2: Tensor, back: bool = False) -> None:
    """Turn q and k in place, or back; in the type of what is given."""
    turn_TF = torch.view_as_complex(turn_TF2.to(qk_T2HE.dtype))[:, None, None]
    torch.view_as_complex(qk_T2HE.unflatten(-1, (-1, 2))).mul_(turn_TF.conj() if back else turn_TF)
