import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import GRUConfig

WIDTH = 4


def slow_gru(x, gru):
    """Cho et al. 2014, token by token; torch orders its gates reset, update, new."""
    state, states = torch.zeros(WIDTH, dtype=x.dtype), [x[:0]]
    for token in x:
        ours = (gru.weight_ih_l0 @ token + gru.bias_ih_l0).chunk(3)
        theirs = (gru.weight_hh_l0 @ state + gru.bias_hh_l0).chunk(3)
        reset, update = (ours[0] + theirs[0]).sigmoid(), (ours[1] + theirs[1]).sigmoid()
        state = (1 - update) * torch.tanh(ours[2] + reset * theirs[2]) + update * state
        states.append(state[None])
    return torch.cat(states)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 15), max_size=8), st.integers(0, 2**31))
def test_jagged_states_and_gradients_are_those_of_each_window(lengths, seed):
    torch.manual_seed(seed)
    backbone = build_backbone(GRUConfig(num_layers=2, dropout=0), WIDTH, 64).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(sum(lengths), WIDTH, dtype=torch.float64, requires_grad=True)
    expected = [x[:0]]
    for window in x.split(lengths):
        for block in backbone.blocks:
            window = window + slow_gru(block.norm(window), block.gru) @ block.out.weight.T
        expected.append(backbone.norm(window))
    found, joined = backbone(x, Batch.of([[0] * n for n in lengths])), torch.cat(expected)
    torch.testing.assert_close(found, joined)
    weight = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((found * weight).sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad((joined * weight).sum(), x)[0])
