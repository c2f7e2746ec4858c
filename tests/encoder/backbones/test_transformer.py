import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.encoder.user_encoder import UserEncoder, UserEncoderConfig
from ray_userrep.feed.batch import Batch

SEQUENCES = [[3], [1, 2, 3, 4, 5, 6, 7], [9, 9], [29, 0, 28, 1, 27, 2, 26, 3, 25, 4, 24, 5], [8, 7, 6]]
KINDS = [
    {"causal": causal, "positions": positions, "ffn": ffn, "norm": norm}
    for causal, positions, ffn, norm in itertools.product(
        (True, False), ("rotary", "learned"), ("swiglu", "gelu"), ("rms", "layer")
    )
]


def slow_states(encoder: UserEncoder, sequence: list[int]) -> np.ndarray:
    """The states of one window from the textbook formulas, in float64."""
    config = encoder.config.encoder["backbone"]
    w = {name: value.detach().double().numpy() for name, value in encoder.state_dict().items()}
    x = w["items.weight"][sequence] * encoder.width**0.5
    if config["positions"] == "learned":
        x = x + w["backbone.positions.weight"][: len(sequence)]
    for layer in range(config["num_layers"]):
        here = {k.split(".", 3)[3]: v for k, v in w.items() if k.startswith(f"backbone.blocks.{layer}.")}
        x = x + slow_attention(norm(x, here, "attention_norm", config), here, config)
        x = x + feed_forward(norm(x, here, "ffn_norm", config), here, config)
    return norm(x, {k.removeprefix("backbone."): v for k, v in w.items()}, "norm", config)


def norm(x, w, name, config):
    if config["norm"] == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"]
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]


def slow_attention(x, w, config):
    length, width = x.shape
    head = width // config["num_heads"]
    q, k, v = np.split(x @ w["attention.qkv.weight"].T, 3, axis=1)
    out = np.empty_like(x)
    for h in range(config["num_heads"]):
        part = slice(h * head, (h + 1) * head)
        qh, kh = q[:, part], k[:, part]
        if config["positions"] == "rotary":
            qh, kh = slow_rotary(qh), slow_rotary(kh)
        for t in range(length):
            seen = t + 1 if config["causal"] else length
            weights = np.exp(kh[:seen] @ qh[t] / math.sqrt(head))
            out[t, part] = weights @ v[:seen, part] / weights.sum()
    return out @ w["attention.out.weight"].T


def slow_rotary(x):
    out = np.empty_like(x)
    for t, i in itertools.product(range(x.shape[0]), range(0, x.shape[1], 2)):
        angle = t * 10_000 ** (-i / x.shape[1])
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        out[t, i : i + 2] = turn @ x[t, i : i + 2]
    return out


def feed_forward(x, w, config):
    up = x @ w["ffn.up.weight"].T
    if config["ffn"] == "gelu":
        hidden = up * 0.5 * (1 + np.vectorize(math.erf)(up / math.sqrt(2)))
    else:
        gate, value = np.split(up, 2, axis=1)
        hidden = gate / (1 + np.exp(-gate)) * value
    return hidden @ w["ffn.down.weight"].T


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_jagged_states_are_those_of_each_window_alone(make_encoder, kind):
    encoder = make_encoder(**kind)
    states = encoder.states(Batch.of(SEQUENCES)).detach().numpy()
    expected = np.concatenate([slow_states(encoder, sequence) for sequence in SEQUENCES])
    np.testing.assert_allclose(states, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_later_item_leaves_earlier_states_bit_equal(make_encoder, positions):
    encoder = make_encoder(positions=positions)
    batch = Batch.of(SEQUENCES)
    before = encoder.states(batch)
    for place in (5, 12, 20):
        batch.values_T[place] = (batch.values_T[place] + 7) % 30
        after = encoder.states(batch)
        end = int(batch.offsets_B1[torch.searchsorted(batch.offsets_B1, place, right=True)])
        untouched = torch.ones(batch.num_tokens, dtype=torch.bool)
        untouched[place:end] = False
        assert torch.equal(before[untouched], after[untouched])
        assert not torch.equal(before[place], after[place])
        before = after


def test_a_bidirectional_state_sees_the_whole_window(make_encoder):
    encoder = make_encoder(causal=False)
    first, second = (encoder.states(Batch.of([[1, 2, 3, last]]))[0] for last in (4, 5))
    assert not torch.equal(first, second)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(0, 29), max_size=12), max_size=10))
def test_any_windows_empty_and_single_ones_too(sequences):
    encoder = _encoder_of_hypothesis()
    states = encoder.states(Batch.of(sequences))
    alone = [encoder.states(Batch.of([sequence])) for sequence in sequences]
    torch.testing.assert_close(states, torch.cat([states[:0], *alone]), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(states).all()


def _encoder_of_hypothesis() -> UserEncoder:
    torch.manual_seed(0)
    encoder = UserEncoder(UserEncoderConfig(encoder={"width": 16}, num_items=30, max_len=12)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    return encoder


def test_half_precision_stays_near(make_encoder):
    encoder = make_encoder()
    exact = encoder.states(Batch.of(SEQUENCES))
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder.states(Batch.of(SEQUENCES))
    assert (half.float() - exact).norm() < 0.03 * exact.norm()
