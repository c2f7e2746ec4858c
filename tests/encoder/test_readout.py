from itertools import pairwise

import pytest
import torch

from ray_userrep.encoder.readout import readout

OFFSETS = torch.tensor([0, 3, 3, 4, 9, 9], dtype=torch.int32)


@pytest.mark.parametrize("kind", ["last", "mean"])
def test_readout_of_each_window(kind):
    states = torch.randn(9, 4, requires_grad=True)
    out = readout(states, OFFSETS, kind)
    for user, (low, high) in enumerate(pairwise(OFFSETS)):
        window = states[low:high]
        expected = torch.zeros(4) if low == high else window[-1] if kind == "last" else window.mean(0)
        torch.testing.assert_close(out[user], expected)
    out.sum().backward()
    assert torch.isfinite(states.grad).all()


@pytest.mark.parametrize("kind", ["last", "mean"])
def test_readout_of_nothing(kind):
    assert readout(torch.empty(0, 4), torch.zeros(3, dtype=torch.int32), kind).tolist() == [[0.0] * 4] * 2
    assert readout(torch.empty(0, 4), torch.zeros(1, dtype=torch.int32), kind).shape == (0, 4)
