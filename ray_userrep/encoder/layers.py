"""The leaf modules: each draws its own first weights as it is built.

A later pass over the whole model would be simpler, and would find parameters already partitioned where ZeRO builds
models too large for one worker.

What draws noise in training asks `in_training`: vectors may be asked for without noise while other threads train, so
that a thread's wish must not be written into the modules that all of them share.

Shapes: any leading axes, T tokens, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from ray_userrep.encoder import device

_WITHOUT_NOISE: ContextVar[bool] = ContextVar("without_noise", default=False)


@contextmanager
def without_noise() -> Iterator[None]:
    """In this thread modules draw nothing, whatever mode they are in."""
    token = _WITHOUT_NOISE.set(True)
    try:
        yield
    finally:
        _WITHOUT_NOISE.reset(token)


def in_training(module: nn.Module) -> bool:
    """Whether a module may draw noise."""
    return module.training and not _WITHOUT_NOISE.get()


class Linear(nn.Linear):
    """A linear map without bias whose outputs have the variance of its inputs."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.in_features**-0.5)


class ZeroLinear(Linear):
    """A linear map that starts at zero: the residual branch it ends adds nothing at first."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class Dropout(nn.Module):
    """Dropout that draws 16 random bits a value on CPU, a quarter of torch's time; its rate is exact to 2⁻¹⁶."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not in_training(self):
            return x
        if device.on_gpu(x):
            return nn.functional.dropout(x, self.rate)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = bits[: x.numel()].view(x.shape) >= round(self.rate * 2**16) - 2**15
        return x * kept.to(x.dtype).div_(1 - self.rate)


class Norm(nn.Module):
    """RMSNorm, or LayerNorm with its bias."""

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if kind == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None:
            return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, eps=_EPS)
        if torch.is_grad_enabled() and not device.on_gpu(x) and x.dtype == self.weight.dtype:
            normed: Tensor = _RMSNorm.apply(x, self.weight)
            return normed
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, eps=_EPS)


_EPS = 1e-6


class _RMSNorm(torch.autograd.Function):
    """RMSNorm whose gradient takes a third of torch's time on CPU: LayerNorm's own, of mean 0, with what it centres."""

    @staticmethod
    def forward(ctx, x: Tensor, weight_D: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight_D)
        return nn.functional.rms_norm(x, weight_D.shape, weight_D, eps=_EPS)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        x, weight_D = ctx.saved_tensors
        width = len(weight_D)
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(width).add_(_EPS).rsqrt_()
        grad_x, grad_weight_D, _ = torch.ops.aten.native_layer_norm_backward(
            grad, x, [width], torch.zeros_like(scale), scale, weight_D, None, [True, True, False]
        )
        centred = (grad @ weight_D).div_(width).unsqueeze_(-1).mul_(scale)
        return grad_x.add_(centred), grad_weight_D


class SpecialTokens(nn.Module):
    """Vectors for a hidden item and for the token that sums a window up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, width) * width**-0.5)

    def forward(self, values_T: Tensor) -> Tensor:
        return nn.functional.embedding((-values_T - 1).clamp(min=0), self.weight)
