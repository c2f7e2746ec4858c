"""The LSTM whose gates properties drive: torch's own where there are none, and never a word in what is remembered."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import LSTMConfig

WIDTH, HIDDEN = 4, 6


def make(context="gates", num_layers=1):
    config = LSTMConfig(context=context, hidden=HIDDEN, num_layers=num_layers, dropout=0)
    backbone = build_backbone(config, WIDTH, 64).double()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return backbone


def torchs(block) -> torch.nn.LSTM:
    """The same weights in torch's LSTM, which orders them input, forget, candidate, output."""
    lstm = torch.nn.LSTM(WIDTH, HIDDEN, batch_first=True).double()

    def ordered(rows):
        let_in, kept, shown, candidate = rows.chunk(4)
        return torch.cat([let_in, kept, candidate, shown])

    with torch.no_grad():
        lstm.weight_ih_l0.copy_(ordered(block.items.weight))
        lstm.weight_hh_l0.copy_(ordered(block.recurrent))
        lstm.bias_ih_l0.copy_(ordered(block.bias))
        lstm.bias_hh_l0.zero_()
    return lstm


def slow_states(block, x, context):
    """One window token by token, from the equations."""
    state, cell, states = torch.zeros(HIDDEN).double(), torch.zeros(HIDDEN).double(), [x[:0, :1].expand(0, HIDDEN)]
    items, recurrent, bias = (part.chunk(4) for part in (block.items.weight, block.recurrent, block.bias))
    properties = block.properties.weight.chunk(3)
    for token, own in zip(block.norm(x), context, strict=True):
        driven = [items[i] @ token + recurrent[i] @ state + bias[i] for i in range(4)]
        let_in, kept, shown = ((driven[i] + properties[i] @ own).sigmoid() for i in range(3))
        cell = kept * cell + let_in * driven[3].tanh()
        state = shown * cell.tanh()
        states.append(state[None])
    return torch.cat(states)


@pytest.mark.parametrize("lengths", [[5], [3, 0, 7, 1, 3], [1, 1]])
@pytest.mark.parametrize("context", ["added", "gates"])
def test_without_properties_it_is_torchs_lstm(lengths, context):
    torch.manual_seed(0)
    backbone = make(context, num_layers=2)
    if context == "gates":
        for block in backbone.blocks:
            torch.nn.init.zeros_(block.properties.weight)
    x, properties = torch.randn(2, sum(lengths), WIDTH, dtype=torch.float64)
    given = (properties,) if context == "gates" else ()
    expected = []
    for window in x.split(lengths):
        for block in backbone.blocks:
            states = torchs(block)(block.norm(window)[None])[0][0] if len(window) else window.new_zeros(0, HIDDEN)
            window = window + states @ block.out.weight.T
        expected.append(backbone.norm(window))
    found = backbone(x, Batch.of([[0] * n for n in lengths]), *given)
    torch.testing.assert_close(found, torch.cat(expected))


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), max_size=6).filter(any), st.integers(0, 2**31))
def test_jagged_states_and_gradients_are_those_of_each_window(lengths, seed):
    torch.manual_seed(seed)
    backbone = make()
    x, context = (torch.randn(sum(lengths), WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    (block,) = backbone.blocks
    windows = zip(x.split(lengths), context.split(lengths), strict=True)
    expected = torch.cat([backbone.norm(own + slow_states(block, own, of) @ block.out.weight.T) for own, of in windows])
    found = backbone(x, Batch.of([[0] * n for n in lengths]), context)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    gradients = [torch.autograd.grad((states * weight).sum(), [x, context]) for states in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_properties_change_gates_and_never_the_candidate():
    torch.manual_seed(0)
    (block,) = make().blocks
    x, context = torch.randn(2, 9, WIDTH, dtype=torch.float64)
    with_them, without = block._driven(x, context), block._driven(x, torch.zeros_like(context))
    assert torch.equal(with_them[:, 3 * HIDDEN :], without[:, 3 * HIDDEN :])
    assert (with_them[:, : 3 * HIDDEN] != without[:, : 3 * HIDDEN]).all()
    (gradient,) = torch.autograd.grad(block._driven(x, context.requires_grad_())[:, 3 * HIDDEN :].sum(), context)
    assert not gradient.any()
