"""Patches against their formula: what they are given, and that they look at no later item."""

import pytest
import torch
from torch.nn import functional as F

from ray_userrep.feed.batch import Batch
from ray_userrep.transfer.arms.adapters import Parallel, Patch, Patches, Serial

BATCH = Batch.of([[1, 2, 3, 4, 9], [5, 6]])


def loud(encoder, place):
    """The patched encoder with patches that do something."""
    patched = Patches(place, 4).apply(encoder).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in patched.named_parameters():
            if ".patch." in name:
                parameter.normal_()
    return patched


@pytest.mark.parametrize("causal", [True, False])
def test_a_parallel_patch_is_given_the_token_itself(make_encoder, causal):
    patched, seen = loud(make_encoder(num_blocks=2, causal=causal), "parallel"), {}
    for number, block in enumerate(patched.backbone.blocks):
        for norm, map in (("first_norm", "first"), ("second_norm", "second")):
            key = (number, map)
            getattr(block, norm).register_forward_hook(
                lambda m, i, out, key=key: seen.setdefault(key, []).append(F.relu(out))
            )
            getattr(block, map).patch.register_forward_hook(lambda m, i, o, key=key: seen[key].append(i[0]))
    patched(BATCH)
    assert len(seen) == 4
    assert all(torch.equal(own, given) for own, given in seen.values())


def test_outputs_are_those_of_the_formula():
    torch.manual_seed(0)
    width, taps = 8, 3
    base = torch.nn.Linear(taps * width, width)
    x_TF = torch.randn(5, taps * width)
    patch = Patches("serial", 4)
    assert patch.trainable("backbone.blocks.0.first.patch.up.weight") and not patch.trainable("backbone.norm.weight")
    made = Patch(width, 4)
    with torch.no_grad():
        made.up.weight.normal_()
    bottleneck = lambda x: F.gelu(x @ made.down.weight.T) @ made.up.weight.T  # noqa: E731
    y = base(x_TF)
    assert torch.allclose(Serial(base, made)(x_TF), y + bottleneck(y), atol=1e-6)
    own = slice(width, 2 * width)
    assert torch.allclose(Parallel(base, made, own)(x_TF), y + bottleneck(x_TF[:, own]), atol=1e-6)


@pytest.mark.parametrize("kind", ["cnn", "transformer"])
@pytest.mark.parametrize("place", ["serial", "parallel"])
def test_a_causal_encoder_stays_causal(make_encoder, place, kind):
    encoder = make_encoder(kind=kind)
    patched = loud(encoder, place)
    states = patched.states(BATCH)
    assert not torch.allclose(states, encoder.states(BATCH), atol=1e-3)
    later = patched.states(Batch.of([[1, 2, 3, 8, 7], [5, 6]]))
    assert torch.allclose(states[:3], later[:3], atol=1e-6) and not torch.allclose(states[3:5], later[3:5], atol=1e-3)
    assert torch.allclose(states[5:], later[5:], atol=1e-6)
