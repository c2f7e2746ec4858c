from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.attention import _grouped, attend, attention_layout, has_varlen
from ray_userrep.encoder.backbones.rotary import rotary_turn
from tests.gpu_kernels import as_on_gpu

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
@given(st.lists(st.integers(0, 20), max_size=12), st.booleans(), st.integers(0, 60), st.integers(0, 2**31))
def test_jagged_attention_is_plain_attention_of_each_window(lengths, causal, spare, seed):
    torch.manual_seed(seed)
    offsets = offsets_of(lengths)
    qkv = torch.randn(int(offsets[-1]), 3, HEADS, WIDTH, dtype=torch.float64, requires_grad=True)
    layout = attention_layout(offsets, max(lengths, default=0), causal, varlen=False, spare=spare)
    out = attend(qkv, layout)
    assert out.shape == (int(offsets[-1]), HEADS, WIDTH)
    (gradient,) = torch.autograd.grad(out.square().sum(), qkv)

    alone = qkv.detach().requires_grad_()
    windows = [alone[low:high] for low, high in pairwise(offsets)]
    expected = torch.cat([alone[:0, 0], *(plain_attention(window, causal) for window in windows)])
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), alone)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("is_turned", [True, False])
def test_one_step_on_cpu_is_turning_and_attending_one_after_the_other(causal, is_turned):
    torch.manual_seed(0)
    lengths = [5, 1, 64, 0, 33, 30, 31]
    offsets, num_tokens = offsets_of(lengths), sum(lengths)
    layout = attention_layout(offsets, max(lengths), causal, varlen=False)
    positions = torch.cat([torch.arange(length) for length in lengths])
    turn = rotary_turn(layout.at_places(positions), 16) if is_turned else None
    qkv = torch.randn(num_tokens, 3, 2, 16, requires_grad=True)
    grad = torch.randn(num_tokens, 2, 16)
    outs = attend(qkv, layout, turn), _grouped(qkv, layout, turn)
    torch.testing.assert_close(*outs, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(out, qkv, grad)[0] for out in outs]
    torch.testing.assert_close(*gradients, rtol=0, atol=3e-6)


def test_in_half_precision_only_what_goes_in_and_comes_out_is_rounded():
    torch.manual_seed(0)
    offsets, qkv = offsets_of([9, 70]), torch.randn(79, 3, 2, 16).bfloat16().requires_grad_()
    layout = attention_layout(offsets, 70, causal=True, varlen=False)
    half, exact = attend(qkv, layout), attend(exact_qkv := qkv.detach().float().requires_grad_(), layout)
    assert torch.equal(half, exact.bfloat16())
    grad = torch.randn(79, 2, 16).bfloat16()
    (gradient,), (expected,) = torch.autograd.grad(half, qkv, grad), torch.autograd.grad(exact, exact_qkv, grad.float())
    assert torch.equal(gradient, expected.bfloat16())


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=80), st.integers(0, 100))
def test_groups_hold_every_token_once_and_pad_by_an_eighth_and_what_is_spare_at_most(lengths, spare):
    layout = attention_layout(offsets_of(lengths), max(lengths), causal=True, varlen=False, spare=spare)
    assert torch.equal(layout.source_P[layout.place_T], torch.arange(sum(lengths)))
    assert sum(group.num_windows for group in layout.groups) == sum(length > 0 for length in lengths)
    assert len(layout.source_P) <= sum(lengths) * 8 / 7 + spare * len(layout.groups)


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


@pytest.mark.parametrize("causal", [True, False])
def test_what_the_varlen_kernel_is_given_is_what_the_groups_are(causal):
    torch.manual_seed(0)
    lengths = [5, 1, 64, 0, 33]
    offsets, qkv = offsets_of(lengths), torch.randn(sum(lengths), 3, 2, 16).bfloat16().requires_grad_()
    jagged, grouped = (attention_layout(offsets, 64, causal, varlen) for varlen in (True, False))
    positions = torch.cat([torch.arange(length) for length in lengths])
    with as_on_gpu():
        assert has_varlen(qkv, 16) and not has_varlen(qkv, 512) and not has_varlen(qkv, 12)
        out = attend(qkv, jagged, rotary_turn(positions, 16))
    expected = attend(qkv, grouped, rotary_turn(grouped.at_places(positions), 16))
    torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)
