"""The kernels of GPUs on a processor: what decides between them is turned, and the jagged attention is done plainly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ray_userrep.encoder import device


@contextmanager
def as_on_gpu(varlen: Callable[..., Tensor] | None = None) -> Iterator[None]:
    """Tensors are given the kernels of GPUs, wherever they are; the jagged attention may be another one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "on_gpu", lambda x: True)
        patch.setattr("torch.nn.attention.varlen.varlen_attn", varlen or plain_varlen)
        yield


def plain_varlen(
    q: Tensor, k: Tensor, v: Tensor, offsets: Tensor, _: Tensor, longest: int, __: int, *, window_size: tuple[int, int]
) -> Tensor:
    """Attention window by window, as `torch.nn.attention.varlen.varlen_attn`."""
    assert offsets.dtype == torch.int32 and q.dtype == torch.bfloat16 and int(offsets.diff().max()) <= longest
    is_causal = window_size == (-1, 0)
    windows = [[x[low:high].transpose(0, 1) for x in (q, k, v)] for low, high in pairwise(offsets.tolist())]
    outs = [F.scaled_dot_product_attention(*window, is_causal=is_causal).transpose(0, 1) for window in windows]
    return torch.cat(outs)
