import pytest
import torch

from ray_userrep.encoder.layers import Dropout, Linear, Norm, ZeroLinear


def test_linear_keeps_the_variance_of_its_input():
    torch.manual_seed(0)
    out = Linear(400, 300)(torch.randn(500, 400))
    assert out.std().item() == pytest.approx(1.0, abs=0.05)


def test_zero_linear_adds_nothing_at_first():
    assert ZeroLinear(8, 4)(torch.randn(3, 8)).abs().max() == 0


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norm_is_its_formula(kind):
    torch.manual_seed(0)
    norm, x = Norm(16, kind), torch.randn(5, 16) * 3 + 1
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    centred = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected if norm.bias is None else expected + norm.bias)


@pytest.mark.parametrize("shape", [(300, 16), (1, 8), (0, 8), (2, 3, 32)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_gradients_of_rms_norm_are_those_of_the_library(shape, scale):
    torch.manual_seed(0)
    norm, grad = Norm(shape[-1], "rms"), torch.randn(shape)
    with torch.no_grad():
        norm.weight.normal_()
    ours = (torch.randn(shape) * scale).requires_grad_()
    theirs, weight = (x.detach().clone().requires_grad_() for x in (ours, norm.weight))
    torch.nn.functional.rms_norm(theirs, weight.shape, weight, eps=1e-6).backward(grad)
    norm(ours).backward(grad)
    for found, expected in ((ours, theirs), (norm.weight, weight)):
        size = expected.grad.abs().max().item() if expected.numel() else 1.0
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=max(1e-6 * size, 1e-12))


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    x = torch.ones(1001, 997, requires_grad=True)
    out = Dropout(rate).train()(x)
    assert out.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate))]
    assert (out == 0).float().mean().item() == pytest.approx(rate, abs=2e-3)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_dropout_draws_each_value_apart():
    """No neighbouring values share their bits, in either direction."""
    torch.manual_seed(0)
    dropped = (Dropout(0.5).train()(torch.ones(1000, 1000)) == 0).float() - 0.5
    for shift in (1, 2, 3, 4):
        assert abs((dropped[:, shift:] * dropped[:, :-shift]).mean().item() / 0.25) < 5e-3
        assert abs((dropped[shift:] * dropped[:-shift]).mean().item() / 0.25) < 5e-3


def test_dropout_follows_the_seed_and_rests_in_evaluation():
    x, dropout = torch.randn(50, 7), Dropout(0.3)
    outs = [(torch.manual_seed(seed), dropout.train()(x))[1] for seed in (1, 1, 2)]
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])
    assert dropout.eval()(x) is x and Dropout(0.0).train()(x) is x
