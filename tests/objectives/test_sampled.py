"""Sampled losses against the full softmax that they stand for, and against their formulas."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.sampled import (
    LOG_EXPECTED,
    NEGATIVES,
    BinaryCrossEntropy,
    InBatchSampler,
    LogUniformSampler,
    MixedSampler,
    SampledSoftmax,
    by_counts,
    gbce_beta,
)
from ray_userrep.objectives.softmax import FullSoftmax
from ray_userrep.recipe.encoder import EncoderConfig

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


# What a long batch's targets look like: items as often as they are trained on.
TARGETS = torch.from_numpy(np.repeat(np.arange(NUM_ITEMS), np.maximum(COUNTS, 1)))
SAMPLERS = {
    "uniform": by_counts(COUNTS, 0.0),
    "counts": by_counts(COUNTS, 0.75),
    "popularity": by_counts(COUNTS, 1.0),
    "log_uniform": LogUniformSampler(COUNTS),
    "in_batch": InBatchSampler(COUNTS),
    "mixed": MixedSampler(InBatchSampler(COUNTS), by_counts(COUNTS, 0.0)),
}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


def sampled_loss(encoder, states, targets, num_negatives, batch, sampler, corrected=True):
    loss = SampledSoftmax(sampler, num_negatives)
    drawn = loss.sample(Draws(0, 0, batch), TARGETS)
    if not corrected:
        drawn[LOG_EXPECTED] = torch.full((num_negatives,), float(np.log(num_negatives / NUM_ITEMS)))
    view = Batch.of([[0]])
    view.labels.update(drawn)
    return loss(states, targets, encoder, view)


def test_the_log_uniform_law_is_over_ranks_wherever_items_stand():
    order = np.random.default_rng(0).permutation(NUM_ITEMS)
    shares = LogUniformSampler(COUNTS[order]).share(torch.arange(NUM_ITEMS))
    torch.testing.assert_close(shares, LogUniformSampler(COUNTS).share(torch.from_numpy(order)))
    assert (np.diff(LogUniformSampler(COUNTS).share(torch.arange(NUM_ITEMS))) < 0).all()


@pytest.mark.parametrize("grown", [False, True])
def test_the_log_uniform_law_is_drawn_from(grown):
    order = np.random.default_rng(0).permutation(NUM_ITEMS) if grown else np.arange(NUM_ITEMS)
    sampler = LogUniformSampler(COUNTS[order])
    drawn = np.bincount(sampler.draw(Draws(0, 0, 0), 200_000, TARGETS), minlength=NUM_ITEMS)
    shares_V = sampler.share(torch.arange(NUM_ITEMS)).numpy()
    assert abs(shares_V.sum() - 1) < 1e-12 and stats.chisquare(drawn, 200_000 * shares_V).pvalue > 1e-3


def states_and_targets():
    torch.manual_seed(1)
    return torch.randn(6, 8), torch.tensor([0, 0, 3, 5, 11, 1])


@every_sampler
def test_sampled_softmax_goes_to_the_full_one(encoder, sampler):
    """With very many draws the normaliser is the catalogue's, and so are loss and gradient."""
    states, targets = states_and_targets()
    sampled = sampled_loss(encoder, states, targets, 400_000, 0, sampler)
    full = FullSoftmax()(states, targets, encoder, Batch.of([[0]]))
    torch.testing.assert_close(sampled, full, rtol=1e-2, atol=0)
    ours, expected = (torch.autograd.grad(loss, encoder.items.weight)[0] for loss in (sampled, full))
    assert (ours - expected).norm() < 2e-2 * expected.norm()


@every_sampler
def test_the_correction_makes_the_normaliser_unbiased(encoder, sampler):
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
                    sampled_loss(encoder, states[i, None], targets[i, None], 16, batch, sampler, corrected).exp()
                    for i in range(len(targets))
                ]
            drawn.append(torch.stack(each))
        return torch.stack(drawn)

    found = normalisers(True)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - expected).abs() < 4 * error).all()
    if sampler is SAMPLERS["uniform"]:
        return
    wrong = normalisers(False)
    assert ((wrong.mean(0) - expected).abs() > 10 * wrong.std(0) / len(wrong) ** 0.5).any()


def test_a_negative_that_is_the_target_is_left_out(encoder):
    states, targets = states_and_targets()
    loss = SampledSoftmax(SAMPLERS["counts"], 3)
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
    loss = SampledSoftmax(SAMPLERS["counts"], 2)(states, torch.tensor([4, 4]), encoder, view)
    loss.backward()
    assert loss == 0 and torch.equal(states.grad, torch.zeros(2, 8))


@every_sampler
def test_negatives_are_drawn_as_often_as_is_said(sampler):
    """An item that was never counted is drawn as one counted once, so that every item can be learned against."""
    drawn = SampledSoftmax(sampler, 50_000).sample(Draws(3, 1, 4), TARGETS)
    expected = sampler.share(torch.arange(NUM_ITEMS)).numpy() * 50_000
    assert expected.sum() == pytest.approx(50_000)
    found = np.bincount(drawn[NEGATIVES].numpy(), minlength=NUM_ITEMS)
    assert stats.chisquare(found, expected / expected.sum() * 50_000).pvalue > 1e-3
    np.testing.assert_allclose(drawn[LOG_EXPECTED].numpy(), np.log(expected)[drawn[NEGATIVES].numpy()], rtol=1e-5)


@every_sampler
def test_negatives_depend_on_the_position_alone(sampler):
    draw = lambda batch: SampledSoftmax(sampler, 64).sample(Draws(0, 2, batch), TARGETS)[NEGATIVES]  # noqa: E731
    assert torch.equal(draw(5), draw(5)) and not torch.equal(draw(5), draw(6))


def test_binary_cross_entropy_is_that_of_its_labels(encoder):
    states, targets = states_and_targets()
    view = Batch.of([[0]])
    view.labels.update({NEGATIVES: torch.tensor([3, 7, 2]), LOG_EXPECTED: torch.zeros(3)})
    scores = states @ encoder.items(None).T
    expected = torch.zeros(())
    for row, target in zip(scores, targets.tolist(), strict=True):
        asked = [target, *(item for item in (3, 7, 2) if item != target)]
        labels = torch.tensor([1.0] + [0.0] * (len(asked) - 1))
        expected = expected + F.binary_cross_entropy_with_logits(row[asked], labels, reduction="sum")
    found = BinaryCrossEntropy(SAMPLERS["uniform"], 3, 1.0)(states, targets, encoder, view)
    torch.testing.assert_close(found, expected)


def test_gbce_raises_the_target_to_the_power_of_the_paper(encoder):
    """Eq. 9: beta = a (t (1 - 1/a) + 1/a) with a the share of negatives; t 0 is plain BCE, t 1 the share itself."""
    assert gbce_beta(256, 3417, 0.0) == pytest.approx(1.0)
    assert gbce_beta(256, 3417, 1.0) == pytest.approx(256 / 3416)
    assert gbce_beta(256, 1, 0.75) == 1.0  # a catalogue of one item has no negatives
    states, targets = states_and_targets()
    view = Batch.of([[0]])
    view.labels.update({NEGATIVES: torch.tensor([7]), LOG_EXPECTED: torch.zeros(1)})
    plain, raised = (
        BinaryCrossEntropy(SAMPLERS["uniform"], 1, beta)(states, targets, encoder, view) for beta in (1.0, 0.25)
    )
    own = (states * encoder.items(targets)).sum(-1)
    torch.testing.assert_close(plain - raised, -0.75 * F.logsigmoid(own).sum())


@pytest.mark.parametrize("grown", [False, True])
def test_shares_of_a_large_catalogue_are_its_weights(grown):
    rng = np.random.default_rng(0)
    counts_V = np.sort(rng.zipf(1.3, 10**6).clip(max=10**8))[::-1].astype(np.int64)
    counts_V = counts_V[rng.permutation(len(counts_V))] if grown else counts_V
    rank_V = np.empty(len(counts_V))
    rank_V[np.argsort(-counts_V, kind="stable")] = np.arange(len(counts_V))
    ids_K = torch.from_numpy(np.append(rng.integers(0, len(counts_V), 1000), [0, len(counts_V) - 1]))
    samplers = {
        LogUniformSampler(counts_V): np.log((rank_V + 2) / (rank_V + 1)),
        by_counts(counts_V, 1.0): counts_V.astype(np.float64),
    }
    for sampler, weight_V in samplers.items():
        expected_K = (weight_V / weight_V.sum())[ids_K]
        np.testing.assert_allclose(sampler.share(ids_K), expected_K, rtol=1e-7)
