"""What holds for every backbone, and each against a slow obvious version of itself on one window at a time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.corpus.batch import TIMESTAMPS, Batch
from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.config import CNNConfig, GRUConfig, HSTUConfig, MeanConfig, TransformerConfig

WIDTH, MAX_LEN = 16, 12
LENGTHS = [5, 1, 12, 3, 5, 0, 7]
CAUSAL = [
    TransformerConfig(dropout=0),
    TransformerConfig(dropout=0, gated=True),
    HSTUConfig(dropout=0),
    HSTUConfig(dropout=0, time_bias=False),
    CNNConfig(dropout=0, num_blocks=2, dilations=(1, 2)),
    GRUConfig(dropout=0, num_layers=2),
    MeanConfig(dropout=0, num_layers=1),
    MeanConfig(dropout=0, num_layers=0),
]
BOTH_SIDES = [config.model_copy(update={"causal": False}) for config in CAUSAL if not isinstance(config, GRUConfig)]


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


def alone(x_TD, batch):
    """Each window as a batch of its own."""
    for low, high in pairwise(batch.offsets_B1.tolist()):
        one = Batch.of([[0] * (high - low)])
        one.side[TIMESTAMPS] = batch.side[TIMESTAMPS][low:high]
        yield x_TD[low:high], one


@every(CAUSAL + BOTH_SIDES)
def test_windows_do_not_see_each_other(config):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    expected = torch.cat([backbone(*one) for one in alone(x, batch)])
    torch.testing.assert_close(backbone(x, batch), expected, rtol=1e-4, atol=1e-5)


@every(CAUSAL)
def test_a_later_item_leaves_earlier_states_bit_equal(config):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    changed = x.clone()
    changed[batch.offsets_B1[3] - 4 :] += 1  # from the ninth item of the third window on
    before, after = backbone(x, batch), backbone(changed, batch)
    kept = batch.offsets_B1[3] - 4
    assert torch.equal(before[:kept], after[:kept])
    assert not torch.equal(before[kept], after[kept])


@every(BOTH_SIDES)
def test_a_bidirectional_state_sees_what_comes_later(config):
    backbone, (x, batch) = make(config), windows([6])
    changed = x.clone()
    changed[2] += 1
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


def test_the_running_mean_is_the_mean_so_far():
    x, batch = windows([4])
    found = make(MeanConfig(num_layers=0))._mean(x, batch)
    torch.testing.assert_close(found, torch.stack([x[: i + 1].mean(0) for i in range(4)]))


def test_convolutions_are_torch_s():
    config = CNNConfig(num_blocks=1, dilations=(2,), dropout=0)
    x, batch = windows([9])
    for causal in (True, False):
        backbone = make(config.model_copy(update={"causal": causal}))
        block = backbone.blocks[0]

        def convolve(h, layer, dilation, causal=causal):
            taps = layer.weight.view(WIDTH, 3, WIDTH).permute(0, 2, 1).flip(2)  # ours begin with the newest token
            padding = (2 * dilation, 0) if causal else (dilation, dilation)
            return F.conv1d(F.pad(h.relu().T[None], padding), taps, dilation=dilation)[0].T

        h = convolve(block.first_norm(x), block.first, 2)
        h = convolve(block.second_norm(h), block.second, 4)
        torch.testing.assert_close(backbone(x, batch), backbone.norm(x + h), rtol=1e-4, atol=1e-5)


def test_recurrences_are_torch_s_on_one_window():
    backbone, (x, batch) = make(GRUConfig(num_layers=1, dropout=0)), windows([7])
    block = backbone.blocks[0]
    states, _ = block.gru(block.norm(x)[:, None])
    torch.testing.assert_close(backbone(x, batch), backbone.norm(x + block.out(states[:, 0])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_hstu_is_the_paper_s_formula_pair_by_pair(causal):
    """Eq. 1-3: silu(UVQK), silu(QK + bias of place and time) V over the window's length bound, norm(AV) * U."""
    config = HSTUConfig(num_layers=1, num_heads=2, dropout=0, causal=causal)
    backbone, (x, batch) = make(config), windows([6])
    unit, times = backbone.units[0], batch.side[TIMESTAMPS]
    u, v, q, k = F.silu(unit.uvqk(unit.in_norm(x))).split(WIDTH, -1)
    head = WIDTH // 2
    mixed = torch.zeros_like(x)
    for h in range(2):
        own = slice(h * head, (h + 1) * head)
        for i in range(6):
            for j in range(i + 1 if causal else 6):
                seconds = abs(int(times[i] - times[j])) // 10**6
                bias = unit.position_bias[i - j + MAX_LEN - 1] + unit.time_bias[min(63, int(2 * np.log2(1 + seconds)))]
                weight = F.silu(q[i, own] @ k[j, own] * head**-0.5 + bias) / MAX_LEN
                mixed[i, own] += weight * v[j, own]
    expected = backbone.norm(x + unit.out(unit.out_norm(mixed) * u))
    torch.testing.assert_close(backbone(x, batch), expected, rtol=1e-4, atol=1e-5)


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
