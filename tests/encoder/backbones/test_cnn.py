import pytest
import torch

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.backbones.cnn import DilatedCNN
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import CNNConfig

WIDTH, LENGTHS = 4, [7, 0, 1, 12, 3]


def make(**fields) -> DilatedCNN:
    torch.manual_seed(0)
    backbone = build_backbone(CNNConfig(dropout=0, **fields), WIDTH, 64).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return backbone


def slow_convolution(x, layer, dilation, causal):
    """Token by token and tap by tap, newest first; a tap outside the window adds nothing."""
    taps = layer.weight.split(WIDTH, dim=1)
    out = []
    for t in range(len(x)):
        sources = [t - dilation * (tap if causal else tap - 1) for tap in range(3)]
        inside = [tap @ x[s].relu() for tap, s in zip(taps, sources, strict=True) if 0 <= s < len(x)]
        out.append(torch.stack(inside).sum(0))
    return torch.stack(out)


@pytest.mark.parametrize("causal", [True, False])
def test_jagged_states_and_gradients_are_those_of_each_window(causal):
    backbone = make(causal=causal, num_blocks=3, dilations=(1, 2))
    x = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64)
    expected = []
    for window in x.split(LENGTHS):
        for block, dilation in zip(backbone.blocks, (1, 2, 1), strict=True):
            if len(window):
                hidden = slow_convolution(block.first_norm(window), block.first, dilation, causal)
                hidden = slow_convolution(block.second_norm(hidden), block.second, 2 * dilation, causal)
                window = window + hidden
        expected.append(backbone.norm(window))
    found, joined = backbone(x, Batch.of([[0] * n for n in LENGTHS])), torch.cat(expected)
    torch.testing.assert_close(found, joined)
    weight, parameters = torch.randn_like(found), list(backbone.parameters())
    gradients = torch.autograd.grad((found * weight).sum(), parameters)
    torch.testing.assert_close(gradients, torch.autograd.grad((joined * weight).sum(), parameters))


@pytest.mark.parametrize("causal, seen", [(True, range(24, 31)), (False, range(27, 34))])
def test_a_block_reaches_as_far_as_its_dilations(causal, seen):
    backbone, x = make(causal=causal, num_blocks=1, dilations=(1,)), torch.randn(61, WIDTH, dtype=torch.float64)
    for norm in (backbone.blocks[0].first_norm, backbone.blocks[0].second_norm):
        torch.nn.init.constant_(norm.weight, 1.0)
        torch.nn.init.constant_(norm.bias, 5.0)  # no rectifier is silent
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(backbone(x, Batch.of([[0] * 61]))[30].square().sum(), x)
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == list(seen)
