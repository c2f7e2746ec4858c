import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.backbones.hstu import HSTU
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import HSTUConfig

WIDTH, HEADS, MAX_LEN = 8, 2, 24
SECOND = 10**6


def make(**fields) -> HSTU:
    torch.manual_seed(0)
    backbone = build_backbone(HSTUConfig(num_heads=HEADS, dropout=0, **fields), WIDTH, MAX_LEN).double().eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return backbone


def windows(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, Batch]:
    rng = np.random.default_rng(seed)
    times = np.concatenate([np.zeros(0, np.int64), *(np.sort(rng.integers(0, 10**14, n)) for n in lengths)])
    batch = replace(Batch.of([[0] * n for n in lengths]), side={TIMESTAMPS: torch.from_numpy(times)})
    torch.manual_seed(seed)
    return torch.randn(batch.num_tokens, WIDTH, dtype=torch.float64), batch


def slow_window(backbone: HSTU, x: torch.Tensor, times: list[int]) -> torch.Tensor:
    """Equations 1-3 pair by pair; half-doublings of the seconds between two interactions."""
    for unit in backbone.units:
        u, v, q, k = F.silu(unit.in_norm(x) @ unit.uvqk.weight.T).split(WIDTH, -1)
        mixed = [[torch.zeros(WIDTH // HEADS, dtype=x.dtype) for _ in range(HEADS)] for _ in times]
        for i in range(len(times)):
            for j in range(i + 1 if backbone.causal else len(times)):
                bucket = min(63, int(2 * math.log2(1 + abs(times[i] - times[j]) // SECOND)))
                bias = unit.position_bias[i - j + MAX_LEN - 1] + unit.time_bias[bucket]
                for h in range(HEADS):
                    own = slice(h * WIDTH // HEADS, (h + 1) * WIDTH // HEADS)
                    score = q[i, own] @ k[j, own] / (WIDTH // HEADS) ** 0.5 + bias
                    mixed[i][h] = mixed[i][h] + F.silu(score) / MAX_LEN * v[j, own]
        joined = torch.stack([torch.cat(heads) for heads in mixed])
        x = x + (unit.out_norm(joined) * u) @ unit.out.weight.T
    return backbone.norm(x)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [[16, 15, 14, 16], [9, 0, 8, 1, 24, 22]])  # groups with padding in them
def test_jagged_states_and_gradients_are_the_paper_s_for_each_window(causal, lengths):
    backbone, (x, batch) = make(causal=causal), windows(lengths)
    times, spans = batch.side[TIMESTAMPS].tolist(), pairwise(batch.offsets_B1.tolist())
    expected = torch.cat([slow_window(backbone, x[a:b], times[a:b]) for a, b in spans if b > a])
    found = backbone(x, batch)
    torch.testing.assert_close(found, expected)
    weight, parameters = torch.randn_like(found), list(backbone.parameters())
    gradients = torch.autograd.grad((found * weight).sum(), parameters)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weight).sum(), parameters))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, MAX_LEN), max_size=8), st.booleans(), st.integers(0, 2**31))
def test_any_windows_read_as_they_do_alone(lengths, causal, seed):
    backbone, (x, batch) = make(causal=causal), windows(lengths, seed)
    alone = [x[:0]]
    for a, b in pairwise(batch.offsets_B1.tolist()):
        alone.append(
            backbone(x[a:b], replace(Batch.of([[0] * (b - a)]), side={TIMESTAMPS: batch.side[TIMESTAMPS][a:b]}))
        )
    torch.testing.assert_close(backbone(x, batch), torch.cat(alone))


def test_times_count_by_their_differences():
    backbone, (x, batch) = make(), windows([12, 11])
    times = batch.side[TIMESTAMPS]
    later = replace(batch, side={TIMESTAMPS: times + 10**15})
    slower = replace(batch, side={TIMESTAMPS: times * 3})
    assert torch.equal(backbone(x, batch), backbone(x, later))
    assert not torch.equal(backbone(x, batch), backbone(x, slower))


def test_without_times_only_places_count():
    backbone, (x, batch) = make(), windows([12, 11])
    silent = make()
    for unit in silent.units:
        torch.nn.init.zeros_(unit.time_bias)
    torch.testing.assert_close(backbone(x, replace(batch, side={})), silent(x, batch))
    placed = make(time_bias=False)
    assert torch.equal(placed(x, batch), placed(x, replace(batch, side={})))
