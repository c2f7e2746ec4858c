import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ray_userrep.objectives import softmax
from ray_userrep.objectives.softmax import chunked_cross_entropy

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "cross_entropy.py"


def plain(states, table, targets):
    return F.cross_entropy(states @ table.T, targets, reduction="sum")


def inputs(num_tokens, num_items, width=12, dtype=torch.float32, scale=1.0):
    torch.manual_seed(num_tokens + num_items)
    states = torch.randn(num_tokens, width, dtype=dtype) * scale
    table = torch.randn(num_items, width, dtype=dtype)
    return states.requires_grad_(), table.requires_grad_(), torch.randint(num_items, (num_tokens,))


def loss_and_gradients(loss_of, states, table, targets):
    loss = loss_of(states, table, targets)
    # Tokens of a mean, so that what arrives from above is not one.
    return loss.detach(), *torch.autograd.grad(loss / max(1, len(targets)), (states, table))


@pytest.mark.parametrize("num_tokens, num_items, scale", [
    (1, 2, 1), (64, 50, 1), (65, 50, 1), (200, 50, 1), (200, 1, 1), (333, 1000, 5), (200, 50, 1e4), (0, 50, 1),
])  # fmt: skip
def test_chunked_cross_entropy_is_the_plain_one(monkeypatch, num_tokens, num_items, scale):
    monkeypatch.setattr(softmax, "_CHUNK_LOGITS", 1)
    given = inputs(num_tokens, num_items, scale=scale)
    found = loss_and_gradients(chunked_cross_entropy, *given)
    for ours, reference in zip(found, loss_and_gradients(plain, *given), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


def test_at_the_size_of_a_training_step():
    given = inputs(2048, 3665, 128, scale=0.3)
    found = loss_and_gradients(chunked_cross_entropy, *given)
    for ours, reference in zip(found, loss_and_gradients(plain, *given), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wanted", itertools.product((False, True), repeat=2))
def test_only_wanted_gradients_are_made(wanted):
    states, table, targets = inputs(100, 40)
    given = [x.detach().requires_grad_(w) for x, w in zip((states, table), wanted, strict=True)]
    loss, reference = chunked_cross_entropy(*given, targets), plain(states, table, targets)
    torch.testing.assert_close(loss, reference)
    assert loss.requires_grad == any(wanted)
    if any(wanted):
        loss.backward()
        for ours, expected in zip(given, torch.autograd.grad(reference, (states, table)), strict=True):
            assert (ours.grad is None) != ours.requires_grad
            if ours.requires_grad:
                torch.testing.assert_close(ours.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_keeps_the_softmax_in_float32(autocast):
    states, table, targets = inputs(300, 500, 32, scale=0.5)
    rounded = [x.detach().bfloat16().float().requires_grad_() for x in (states, table)]
    expected = loss_and_gradients(plain, *rounded, targets)
    given = [x.detach().to(torch.float32 if autocast else torch.bfloat16).requires_grad_() for x in rounded]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = loss_and_gradients(chunked_cross_entropy, *given, targets)
    assert found[0].dtype == torch.float32 and found[1].dtype == given[0].dtype
    torch.testing.assert_close(found[0], expected[0], rtol=2e-3, atol=0)
    for ours, reference in zip(found[1:], expected[1:], strict=True):
        assert (ours.float() - reference).norm() < 1e-2 * reference.norm()


def test_a_second_backward_is_refused():
    states, table, targets = inputs(10, 5)
    loss = chunked_cross_entropy(states, table, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError):
        loss.backward()


@pytest.mark.slow
def test_memory_stays_far_below_the_plain_loss():
    spec = importlib.util.spec_from_file_location("cross_entropy_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    whole, chunked = (benchmark.measure(way, 131_072, 1024) for way in ("plain", "chunked"))
    assert chunked["peak_bytes"] < 0.1 * whole["peak_bytes"]
    largest = benchmark.measure("chunked", 1_000_000, 128)
    assert largest["peak_bytes"] - largest["table_bytes"] < 512 * 2**20
