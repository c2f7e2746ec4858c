import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.objectives import softmax
from ray_userrep.objectives.rivals import rival_cross_entropy


def plain(positive_T, states_TD, rivals_KD, key_T, key_K, offset_K):
    """The definition: the truth beside all rivals of another key."""
    scores_TK = (states_TD @ rivals_KD.T + offset_K).masked_fill(key_T[:, None] == key_K, float("-inf"))
    logits_TK1 = torch.cat([positive_T[:, None], scores_TK], 1)
    return F.cross_entropy(logits_TK1, torch.zeros(len(states_TD), dtype=torch.long), reduction="sum")


def inputs(num_states, num_rivals, scale=1.0, num_keys=7):
    torch.manual_seed(num_states + num_rivals)
    states_TD, rivals_KD = torch.randn(num_states, 12) * scale, torch.randn(num_rivals, 12)
    offset_K = torch.randn(num_rivals).masked_fill(torch.rand(num_rivals) < 0.2, float("-inf"))
    keys = (torch.randint(num_keys, (number,)) for number in (num_states, num_rivals))
    learned = [x.requires_grad_() for x in (torch.randn(num_states) * scale, states_TD, rivals_KD)]
    return learned, [*keys, offset_K]


def loss_and_gradients(loss_of, learned, fixed):
    loss = loss_of(*learned, *fixed)
    # Of a mean, so that what arrives from above is not one.
    return loss.detach(), *torch.autograd.grad(loss / max(1, len(learned[1])), learned)


@given(st.integers(0, 200), st.integers(1, 300), st.sampled_from([0.1, 1.0, 100.0]), st.sampled_from([1, 7, 10**6]))
@settings(deadline=None, max_examples=60)
def test_it_is_the_plain_cross_entropy(num_states, num_rivals, scale, num_keys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "_CHUNK_LOGITS", 1)
        learned, fixed = inputs(num_states, num_rivals, scale, num_keys)
        found = loss_and_gradients(rival_cross_entropy, learned, fixed)
        for ours, reference in zip(found, loss_and_gradients(plain, learned, fixed), strict=True):
            torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


def test_a_truth_without_rivals_is_certain():
    learned, (_, key_K, offset_K) = inputs(9, 4)
    lonely = [torch.full((9,), 3), torch.full_like(key_K, 3), offset_K]
    loss, *gradients = loss_and_gradients(rival_cross_entropy, learned, lonely)
    assert loss == 0 and all((gradient == 0).all() for gradient in gradients)


def test_gradients_are_made_of_what_is_learned_alone():
    (positive_T, states_TD, rivals_KD), fixed = inputs(70, 30)
    loss = rival_cross_entropy(positive_T, states_TD, rivals_KD.detach(), *fixed)
    reference = plain(positive_T, states_TD, rivals_KD.detach(), *fixed)
    found = torch.autograd.grad(loss, (positive_T, states_TD))
    torch.testing.assert_close(found, torch.autograd.grad(reference, (positive_T, states_TD)))


def test_under_autocast_products_are_halved_and_the_sum_is_not():
    learned, fixed = inputs(64, 80, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        found, *gradients = loss_and_gradients(rival_cross_entropy, learned, fixed)
    reference, *expected = loss_and_gradients(plain, learned, fixed)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reference, rtol=1e-2, atol=1e-2)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=5e-3)
