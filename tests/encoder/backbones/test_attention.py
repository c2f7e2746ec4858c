from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.attention import attend, attention_layout, has_varlen

HEADS, WIDTH = 2, 6


def plain_attention(qkv: torch.Tensor, causal: bool) -> torch.Tensor:
    """One window alone, head by head and query by query."""
    out = torch.empty(qkv.shape[0], HEADS, WIDTH, dtype=qkv.dtype)
    for head in range(HEADS):
        q, k, v = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
        for t in range(len(q)):
            seen = t + 1 if causal else len(q)
            weights = torch.exp(k[:seen] @ q[t] / WIDTH**0.5)
            out[t, head] = (weights / weights.sum()) @ v[:seen]
    return out


def offsets_of(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 20), max_size=12), st.booleans(), st.integers(0, 2**31))
def test_jagged_attention_is_plain_attention_of_each_window(lengths, causal, seed):
    torch.manual_seed(seed)
    offsets = offsets_of(lengths)
    qkv = torch.randn(int(offsets[-1]), 3, HEADS, WIDTH, dtype=torch.float64, requires_grad=True)
    layout = attention_layout(offsets, max(lengths, default=0), causal, varlen=False)
    out = attend(qkv, layout)
    assert out.shape == (int(offsets[-1]), HEADS, WIDTH)
    (gradient,) = torch.autograd.grad(out.square().sum(), qkv)

    alone = qkv.detach().requires_grad_()
    windows = [alone[low:high] for low, high in pairwise(offsets)]
    expected = torch.cat([alone[:0, 0], *(plain_attention(window, causal) for window in windows)])
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), alone)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=80))
def test_groups_hold_every_token_once_and_pad_by_an_eighth_at_most(lengths):
    layout = attention_layout(offsets_of(lengths), max(lengths), causal=True, varlen=False)
    assert torch.equal(layout.source_P[layout.place_T], torch.arange(sum(lengths)))
    assert sum(group.num_windows for group in layout.groups) == sum(length > 0 for length in lengths)
    assert len(layout.source_P) <= sum(lengths) * 8 / 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the varlen kernel needs a GPU")
@pytest.mark.parametrize("causal", [True, False])
def test_the_varlen_kernel_agrees_with_the_groups(causal):
    torch.manual_seed(0)
    lengths = [5, 1, 64, 0, 33]
    offsets = offsets_of(lengths).cuda()
    qkv = torch.randn(sum(lengths), 3, 2, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    assert has_varlen(qkv, 64)
    outs = [attend(qkv, attention_layout(offsets, 64, causal, varlen)) for varlen in (True, False)]
    gradients = [torch.autograd.grad(out.float().square().sum(), qkv)[0] for out in outs]
    torch.testing.assert_close(*outs, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(*gradients, rtol=5e-2, atol=5e-2)


def test_the_varlen_kernel_is_left_alone_on_cpu():
    assert not has_varlen(torch.zeros(1, dtype=torch.bfloat16), 64)
