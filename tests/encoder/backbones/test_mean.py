from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import MeanConfig

WIDTH = 4


def slow_means(x, lengths, causal):
    out, low = [x[:0]], 0
    for length in lengths:
        window = x[low : low + length]
        out += [window[: (i + 1 if causal else length)].mean(0, keepdim=True) for i in range(length)]
        low += length
    return torch.cat(out)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=8), st.booleans(), st.integers(0, 5), st.integers(0, 2**31))
def test_means_and_their_gradients_are_those_of_each_window(lengths, causal, slack, seed):
    torch.manual_seed(seed)
    x = torch.randn(sum(lengths), WIDTH, dtype=torch.float64, requires_grad=True)
    batch = Batch.of([[0] * length for length in lengths])
    batch = replace(batch, max_len=batch.max_len + slack)  # a bound may be loose
    backbone = build_backbone(MeanConfig(causal=causal, num_layers=0), WIDTH, 64).double()
    found, expected = backbone(x, batch), backbone.norm(slow_means(x, lengths, causal))
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((found * weight).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("causal", [True, False])
def test_the_network_is_a_residual_one_on_the_mean(causal):
    torch.manual_seed(0)
    backbone = build_backbone(MeanConfig(causal=causal, num_layers=2, dropout=0), WIDTH, 64)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(9, WIDTH)
    expected = slow_means(x, [6, 3], causal)
    for norm, layer in zip(backbone.norms, backbone.layers, strict=True):
        hidden = torch.nn.functional.gelu(norm(expected) @ layer.up.weight.T)
        expected = expected + hidden @ layer.down.weight.T
    torch.testing.assert_close(backbone(x, Batch.of([[0] * 6, [0] * 3])), backbone.norm(expected))


def test_order_does_not_count():
    backbone = build_backbone(MeanConfig(), WIDTH, 64).eval()
    x, batch = torch.randn(7, WIDTH), Batch.of([[0] * 7])
    turned = torch.cat([x[:6].flip(0), x[6:]])
    torch.testing.assert_close(backbone(x, batch)[6], backbone(turned, batch)[6])
