"""The promise of every backbone: windows never mix, and a causal state knows nothing of what follows it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import CNNConfig, GRUConfig, HSTUConfig, LSTMConfig, MeanConfig, TransformerConfig

WIDTH, MAX_LEN = 16, 24
LENGTHS = [17, 1, 24, 22, 0, 16, 3, 23]  # near-equal ones share a padded group
CAUSAL = [
    TransformerConfig(),
    TransformerConfig(gated=True, positions="learned"),
    HSTUConfig(),
    CNNConfig(),
    GRUConfig(num_layers=2),
    LSTMConfig(num_layers=2, hidden=12),
    MeanConfig(),
]
RECURRENT = GRUConfig | LSTMConfig
BOTH_SIDES = [config.model_copy(update={"causal": False}) for config in CAUSAL if not isinstance(config, RECURRENT)]
EVERY = CAUSAL + BOTH_SIDES


def name_of(config):
    gated = "-gated" if getattr(config, "gated", False) else ""
    return f"{config.kind}{gated}-{'causal' if config.causal else 'both'}"


def make(config) -> Backbone:
    """A backbone whose every parameter is drawn anew, so that no branch is silent."""
    torch.manual_seed(0)
    backbone = build_backbone(config, WIDTH, MAX_LEN).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.3)
    return backbone


def windows(lengths: list[int]) -> tuple[torch.Tensor, Batch]:
    rng = np.random.default_rng(0)
    times = [np.sort(rng.integers(0, 10**13, length)) for length in lengths]
    torch.manual_seed(0)
    batch = replace(
        Batch.of([[0] * length for length in lengths]), side={TIMESTAMPS: torch.from_numpy(np.concatenate(times))}
    )
    return torch.randn(batch.num_tokens, WIDTH), batch


def first_of_each(batch: Batch, x: torch.Tensor, kept: int) -> tuple[torch.Tensor, Batch, torch.Tensor]:
    """The batch with every window cut to its oldest `kept` tokens, and which tokens those are."""
    places = np.concatenate([np.arange(length) for length in batch.lengths().tolist()])
    stays = torch.from_numpy(places < kept)
    cut = Batch.of([[0] * min(length, kept) for length in batch.lengths().tolist()])
    return x[stays], replace(cut, side={TIMESTAMPS: batch.side[TIMESTAMPS][stays]}), stays


@pytest.mark.parametrize("config", EVERY, ids=name_of)
@pytest.mark.parametrize("poison", [1e12, float("nan")])
def test_nothing_in_a_window_reaches_another(config, poison):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    low, high = batch.offsets_B1[2:4].tolist()
    poisoned = x.clone()
    poisoned[low + 3] = poison
    elsewhere = torch.ones(len(x), dtype=torch.bool)
    elsewhere[low:high] = False
    assert torch.equal(backbone(x, batch)[elsewhere], backbone(poisoned, batch)[elsewhere])


@pytest.mark.parametrize("config", CAUSAL, ids=name_of)
@pytest.mark.parametrize("kept", [1, 9, 20])
def test_a_causal_state_does_not_know_how_long_its_window_will_be(config, kept):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    x_cut, cut, stays = first_of_each(batch, x, kept)
    torch.testing.assert_close(backbone(x_cut, cut), backbone(x, batch)[stays], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", CAUSAL, ids=name_of)
def test_one_changed_item_changes_its_own_state_and_later_ones_only(config):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    before = backbone(x, batch)
    for window, place in ((0, 16), (2, 5), (5, 0), (7, 11)):
        low, high = batch.offsets_B1[window : window + 2].tolist()
        changed = x.clone()
        changed[low + place] += 1
        after = backbone(changed, batch)
        untouched = torch.ones(len(x), dtype=torch.bool)
        untouched[low + place : high] = False
        assert torch.equal(before[untouched], after[untouched])
        assert not torch.equal(before[low + place], after[low + place])


@pytest.mark.parametrize("config", CAUSAL, ids=name_of)
def test_a_later_time_leaves_earlier_states_bit_equal(config):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    low, high = batch.offsets_B1[2:4].tolist()
    times = batch.side[TIMESTAMPS].clone()
    times[low + 7 : high] += 10**13
    after = backbone(x, replace(batch, side={TIMESTAMPS: times}))
    untouched = torch.ones(len(x), dtype=torch.bool)
    untouched[low + 7 : high] = False
    assert torch.equal(backbone(x, batch)[untouched], after[untouched])


@pytest.mark.parametrize("config", EVERY, ids=name_of)
def test_half_precision_stays_near_and_trains(config):
    backbone, (x, batch) = make(config), windows(LENGTHS)
    exact = backbone(x, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = backbone(x, batch)
    assert (half.float() - exact).norm() < 0.05 * exact.norm()
    half.float().square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in backbone.parameters())


@pytest.mark.parametrize("config", EVERY, ids=name_of)
@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_a_batch_without_tokens(config, lengths):
    batch = Batch.of([[] for _ in lengths])
    assert make(config)(torch.zeros(0, WIDTH), batch).shape == (0, WIDTH)
