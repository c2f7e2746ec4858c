from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.readout import Attention, readout, readout_so_far
from ray_userrep.feed.batch import Batch

OFFSETS = torch.tensor([0, 3, 3, 4, 9, 9], dtype=torch.int32)
KINDS = ["last", "mean", "max", "attention"]


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    made = Attention(4)
    torch.nn.init.normal_(made.query, std=3)
    return made


def slow(window, kind, attention):
    """One window alone."""
    if not len(window):
        return torch.zeros(4)
    match kind:
        case "last":
            return window[-1]
        case "mean":
            return window.mean(0)
        case "max":
            return window.max(0).values
    weights = torch.softmax(torch.tanh(window @ attention.keys.weight.T) @ attention.query / 2, 0)
    assert weights.sum().item() == pytest.approx(1)
    return weights @ window


@pytest.mark.parametrize("kind", KINDS)
def test_readout_of_each_window(kind, attention):
    states = torch.randn(9, 4, requires_grad=True)
    out = readout(states, OFFSETS, kind, attention)
    for user, (low, high) in enumerate(pairwise(OFFSETS)):
        torch.testing.assert_close(out[user], slow(states[low:high], kind, attention))
    out.sum().backward()
    assert torch.isfinite(states.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_readout_of_nothing(kind, attention):
    nothing = torch.empty(0, 4)
    assert readout(nothing, torch.zeros(3, dtype=torch.int32), kind, attention).tolist() == [[0.0] * 4] * 2
    assert readout(nothing, torch.zeros(1, dtype=torch.int32), kind, attention).shape == (0, 4)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=30)
def test_the_readout_so_far_is_that_of_the_window_cut_there(lengths, seed):
    torch.manual_seed(seed)
    states, batch = torch.randn(sum(lengths), 4), Batch.of([[0] * length for length in lengths])
    attention = Attention(4)
    torch.nn.init.normal_(attention.query)
    for kind in KINDS:
        found = readout_so_far(states, batch, kind, attention)
        windows = states.split(lengths)
        expected = [slow(window[: place + 1], kind, attention) for window in windows for place in range(len(window))]
        torch.testing.assert_close(found, torch.stack(expected) if expected else states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("largest", [1e-3, 1.0, 40.0])
def test_the_shares_of_attention_sum_to_one_in_each_window(attention, largest):
    torch.nn.init.constant_(attention.query, largest)
    states = torch.cat([torch.randn(9, 3), torch.ones(9, 1)], 1)
    shares = readout(states, OFFSETS, "attention", attention)[:, 3]
    torch.testing.assert_close(shares, (OFFSETS.diff() > 0).float())


def test_a_fresh_attention_is_the_mean():
    states = torch.randn(9, 4)
    found = readout(states, OFFSETS, "attention", Attention(4))
    torch.testing.assert_close(found, readout(states, OFFSETS, "mean"))
