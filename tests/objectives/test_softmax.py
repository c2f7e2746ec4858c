import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from ray_userrep.corpus.batch import Batch
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.config import EncoderConfig
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.objectives import softmax
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.softmax import LOG_EXPECTED, NEGATIVES, FullSoftmax, SampledSoftmax, chunked_cross_entropy

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
    monkeypatch.setitem(softmax._CHUNK_LOGITS, "cpu", 1)
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


def test_memory_stays_far_below_the_plain_loss():
    spec = importlib.util.spec_from_file_location("cross_entropy_benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    whole, chunked = (benchmark.measure(way, 131_072, 1024) for way in ("plain", "chunked"))
    assert chunked["peak_bytes"] < 0.1 * whole["peak_bytes"]
    largest = benchmark.measure("chunked", 1_000_000, 128)
    assert largest["peak_bytes"] - largest["table_bytes"] < 512 * 2**20


NUM_ITEMS = 12
COUNTS = np.array([400, 200, 100, 60, 30, 20, 10, 5, 3, 2, 1, 0])


@pytest.fixture
def encoder() -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": range(NUM_ITEMS), "count": COUNTS}))
    encoder = build_encoder(EncoderConfig(width=8), table, 6).eval()
    with torch.no_grad():
        encoder.items.weight.normal_(std=0.6)
    return encoder


def sampled_loss(encoder, states, targets, num_negatives, batch, alpha=0.75, corrected=True):
    loss = SampledSoftmax(COUNTS, num_negatives, alpha)
    drawn = loss.sample(Draws(0, 0, batch))
    if not corrected:
        drawn[LOG_EXPECTED] = torch.full((num_negatives,), float(np.log(num_negatives / NUM_ITEMS)))
    view = Batch.of([[0]])
    view.labels.update(drawn)
    return loss(states, targets, encoder, view)


def states_and_targets():
    torch.manual_seed(1)
    return torch.randn(6, 8), torch.tensor([0, 0, 3, 5, 11, 1])


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_sampled_softmax_goes_to_the_full_one(encoder, alpha):
    """With very many draws the normaliser is the catalogue's, and so are loss and gradient."""
    states, targets = states_and_targets()
    sampled = sampled_loss(encoder, states, targets, 400_000, 0, alpha)
    full = FullSoftmax()(states, targets, encoder, Batch.of([[0]]))
    torch.testing.assert_close(sampled, full, rtol=1e-2, atol=0)
    ours, expected = (torch.autograd.grad(loss, encoder.items.weight)[0] for loss in (sampled, full))
    assert (ours - expected).norm() < 2e-2 * expected.norm()


def test_the_correction_makes_the_normaliser_unbiased(encoder):
    """Over many batches of few draws the mean normaliser is the catalogue's; without the correction it is far off."""
    states, targets = (x[2:] for x in states_and_targets())
    scores = states @ encoder.items(None).T
    own = scores.gather(1, targets[:, None])[:, 0]
    expected = (scores.logsumexp(1) - own).exp()

    def normalisers(corrected):
        drawn = []
        for batch in range(500):
            with torch.no_grad():
                each = [
                    sampled_loss(encoder, states[i, None], targets[i, None], 16, batch, corrected=corrected).exp()
                    for i in range(len(targets))
                ]
            drawn.append(torch.stack(each))
        return torch.stack(drawn)

    found = normalisers(True)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - expected).abs() < 4 * error).all()
    wrong = normalisers(False)
    assert ((wrong.mean(0) - expected).abs() > 10 * wrong.std(0) / len(wrong) ** 0.5).any()


def test_a_negative_that_is_the_target_is_left_out(encoder):
    states, targets = states_and_targets()
    loss = SampledSoftmax(COUNTS, 3, 1.0)
    view = Batch.of([[0]])
    view.labels.update({NEGATIVES: torch.tensor([3, 7, 3]), LOG_EXPECTED: torch.zeros(3)})
    scores = states @ encoder.items(None).T
    expected = torch.zeros(())
    for row, target in zip(scores, targets.tolist(), strict=True):
        others = [row[item] for item in (3, 7, 3) if item != target]
        expected = expected + torch.stack([row[target], *others]).logsumexp(0) - row[target]
    torch.testing.assert_close(loss(states, targets, encoder, view), expected)


def test_where_all_negatives_are_the_target_there_is_nothing_to_learn(encoder):
    states = torch.randn(2, 8, requires_grad=True)
    view = Batch.of([[0]])
    view.labels.update({NEGATIVES: torch.tensor([4, 4]), LOG_EXPECTED: torch.zeros(2)})
    loss = SampledSoftmax(COUNTS, 2, 1.0)(states, torch.tensor([4, 4]), encoder, view)
    loss.backward()
    assert loss == 0 and torch.equal(states.grad, torch.zeros(2, 8))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_negatives_follow_counts_to_the_power(alpha):
    """An item that was never counted is drawn as one counted once, so that every item can be learned against."""
    sampled = SampledSoftmax(COUNTS, 50_000, alpha)
    drawn = sampled.sample(Draws(3, 1, 4))
    weight = np.maximum(COUNTS, 1) ** alpha
    share = weight / weight.sum()
    found = np.bincount(drawn[NEGATIVES].numpy(), minlength=NUM_ITEMS)
    assert stats.chisquare(found, share * 50_000).pvalue > 1e-3
    np.testing.assert_allclose(drawn[LOG_EXPECTED].numpy(), np.log(share * 50_000)[drawn[NEGATIVES].numpy()], rtol=1e-5)


def test_negatives_depend_on_the_position_alone():
    make = lambda: SampledSoftmax(COUNTS, 64, 0.75)  # noqa: E731
    first, again, later = (make().sample(Draws(0, 2, batch))[NEGATIVES] for batch in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, later)
