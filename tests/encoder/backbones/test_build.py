"""Backbones as they are built: what a fresh one does, what learns, and what gates are."""

import numpy as np
import pytest
import torch

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import CNNConfig, GRUConfig, HSTUConfig, LSTMConfig, MeanConfig, TransformerConfig

WIDTH, MAX_LEN = 16, 12
LENGTHS = [5, 1, 12, 3, 5, 0, 7]
CAUSAL = [
    TransformerConfig(dropout=0),
    TransformerConfig(dropout=0, gated=True),
    HSTUConfig(dropout=0),
    HSTUConfig(dropout=0, time_bias=False),
    CNNConfig(dropout=0, num_blocks=2, dilations=(1, 2)),
    GRUConfig(dropout=0, num_layers=2),
    LSTMConfig(dropout=0, num_layers=2),
    MeanConfig(dropout=0, num_layers=1),
    MeanConfig(dropout=0, num_layers=0),
]
RECURRENT = GRUConfig | LSTMConfig
BOTH_SIDES = [config.model_copy(update={"causal": False}) for config in CAUSAL if not isinstance(config, RECURRENT)]


def name_of(config):
    return f"{config.kind}-{'causal' if config.causal else 'both'}-{config.model_dump_json()[-40:-1]}"


def every(configs):
    return pytest.mark.parametrize("config", configs, ids=name_of)


def make(config):
    torch.manual_seed(0)
    backbone = build_backbone(config, WIDTH, MAX_LEN).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.3)
    return backbone


def windows(lengths, seed=0):
    rng = np.random.default_rng(seed)
    batch = Batch.of([[0] * length for length in lengths])
    times = np.concatenate([np.sort(rng.integers(0, 10**13, length)) for length in lengths])
    batch.side[TIMESTAMPS] = torch.from_numpy(times)
    torch.manual_seed(seed)
    return torch.randn(batch.num_tokens, WIDTH), batch


@every(BOTH_SIDES)
def test_a_bidirectional_state_sees_what_comes_later(config):
    backbone, (x, batch) = make(config), windows([6])
    changed = x.clone()
    changed[2] = torch.randn(WIDTH)  # a constant added to all of it would be taken off again by the norm
    assert not torch.equal(backbone(x, batch)[0], backbone(changed, batch)[0])


@every(CAUSAL + BOTH_SIDES)
def test_every_parameter_gets_a_finite_gradient(config):
    backbone, (x, batch) = make(config).train(), windows(LENGTHS)
    backbone(x, batch).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@every(CAUSAL + BOTH_SIDES)
def test_a_fresh_backbone_passes_its_input_on(config):
    """Branches start at zero, so that depth costs nothing at first; only the mean mixes."""
    x, batch = windows([6])
    fresh = build_backbone(config, WIDTH, MAX_LEN).eval()
    expected = fresh._mean(x, batch) if isinstance(config, MeanConfig) else x
    torch.testing.assert_close(fresh(x, batch), fresh.norm(expected))


def test_gates_multiply_each_branch_by_a_sigmoid_of_its_input():
    backbone, (x, batch) = make(TransformerConfig(num_layers=1, gated=True, dropout=0)), windows([5])
    closed = make(TransformerConfig(num_layers=1, gated=True, dropout=0))
    with torch.no_grad():
        for gate in (closed.blocks[0].attention_gate, closed.blocks[0].ffn_gate):
            gate.weight.zero_()
    block = closed.blocks[0]
    plain = make(TransformerConfig(num_layers=1, dropout=0))
    plain.load_state_dict({k: v for k, v in closed.state_dict().items() if "gate" not in k})
    for layer in (plain.blocks[0].attention.out, plain.blocks[0].ffn.down):
        with torch.no_grad():
            layer.weight.mul_(0.5)  # what a gate of sigmoid(0) does
    torch.testing.assert_close(closed(x, batch), plain(x, batch))
    assert block.attention_gate is not None and not torch.allclose(backbone(x, batch), plain(x, batch))
