"""The contrast of items against a loop over pairs, what its views hide, and how batches are cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.encoder.items.features import feature_items
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.item_contrast import ItemContrast
from ray_userrep.objectives.sampled import by_counts
from ray_userrep.recipe.encoder import EncoderConfig, FeatureItemsConfig

DRAWS, TAU, NUM_COLUMNS = Draws(0, 0, 0), 0.2, 5
COLUMNS = FeatureItemsConfig(columns=("category", "category.1", "category.2", "text"), numbers=("price",), num_rows=64)
WINDOWS = [[3, 1, 4, 1], [5, 9], [9, 2, 6, 5, 3, 5], [8, 9, 1], [2, 7], [1, 8, 2]]
EVEN = np.ones(20, np.int64)
AT_RANDOM = torch.zeros(NUM_COLUMNS, NUM_COLUMNS, dtype=torch.float64)
PAIRED = torch.eye(6, dtype=torch.float64) + torch.block_diag(*[torch.tensor([[0, 0.5], [0.5, 0]])] * 3)


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=16, items=COLUMNS, unit_items=True), table, 6).eval()


def contrast(affinity_FF=AT_RANDOM, alpha=0.0, counts=EVEN):
    return ItemContrast(by_counts(counts, alpha), TAU, affinity_FF)


def many(objective):
    """The items and what is hidden of them, of many windows."""
    (view,) = objective.views(Batch.of([[0] * 50] * 200), DRAWS)
    return view.labels["contrast_items"], view.labels.get("contrast_hidden")


@pytest.mark.parametrize("affinity", [None, AT_RANDOM])
def test_the_loss_is_the_view_against_its_other_and_those_of_other_items(encoder, affinity):
    objective = contrast(affinity)
    (view,) = objective.views(Batch.of(WINDOWS), DRAWS)
    items, hidden = view.labels["contrast_items"], view.labels.get("contrast_hidden")
    embed = feature_items(encoder.items)
    first = F.normalize(embed(items, hidden), dim=-1)
    second = F.normalize(embed(items, None if hidden is None else ~hidden), dim=-1)
    assert len(set(items.tolist())) < len(items), "some items are drawn twice"
    total = torch.zeros(())
    for own, item in enumerate(items.tolist()):
        others = [first[own] @ second[o] / TAU for o, other in enumerate(items.tolist()) if other != item]
        total = total - torch.stack([first[own] @ second[own] / TAU, *others]).log_softmax(0)[0]
    torch.testing.assert_close(objective(encoder, [view]).sums_P[0], total)
    assert objective.counts([view]).tolist() == [sum(map(len, WINDOWS))]


def test_one_view_hides_half_of_the_columns_and_any_of_them_as_often():
    _, hidden = many(contrast())
    assert (hidden.sum(1) == NUM_COLUMNS // 2).all()
    np.testing.assert_allclose(hidden.double().mean(0), 0.4, atol=0.02)
    together = hidden.double().T @ hidden.double() / len(hidden)
    np.testing.assert_allclose(together[~torch.eye(NUM_COLUMNS, dtype=torch.bool)], 0.1, atol=0.02)


def test_columns_that_tell_of_each_other_are_hidden_together():
    _, hidden = many(contrast(PAIRED))
    assert torch.equal(hidden.sum(1), torch.full((len(hidden),), 3))
    pairs = hidden.view(-1, 3, 2)
    whole = pairs.all(2).sum(1)
    assert (whole == 1).all(), "the drawn column's pair, and one more column"
    np.testing.assert_allclose(hidden.double().mean(0), 0.5, atol=0.02)


def test_complementary_views_share_no_column(encoder):
    """What one view is made from leaves the other as it was: gradients of the two never meet in a column's table."""
    objective = contrast()
    (view,) = objective.views(Batch.of(WINDOWS), DRAWS)
    items, hidden = view.labels["contrast_items"][:1], view.labels["contrast_hidden"][:1]
    assert not (hidden & ~hidden).any() and (hidden | ~hidden).all()
    embed = feature_items(encoder.items)
    for mask in (hidden, ~hidden):
        tables = [column.weight for column in embed.columns]
        gradients = torch.autograd.grad(embed(items, mask).square().sum(), tables)
        shown = [bool(gradient[:-1].any()) for gradient in gradients]
        assert shown == [not one for one in mask[0].tolist()]
        assert all(bool(g[-1].any()) == one for g, one in zip(gradients, mask[0].tolist(), strict=True))


def test_items_are_drawn_evenly_or_as_they_are_in_the_log():
    counts = np.arange(1, 21)
    for alpha, share in ((0.0, np.full(20, 0.05)), (1.0, counts / counts.sum())):
        items, _ = many(contrast(alpha=alpha, counts=counts))
        np.testing.assert_allclose(np.bincount(items, minlength=20) / len(items), share, atol=0.01)


def test_draws_hang_on_the_windows_and_the_seed_alone():
    users, objective = np.array([11, 12, 13, 14, 15, 16]), contrast()
    whole = objective.views(Batch.of(WINDOWS, users), DRAWS)[0].labels
    parts = [objective.views(Batch.of(WINDOWS[a:b], users[a:b]), DRAWS)[0].labels for a, b in ((0, 4), (4, 6))]
    for name in ("contrast_items", "contrast_hidden"):
        assert torch.equal(torch.cat([part[name] for part in parts]), whole[name])
    other = objective.views(Batch.of(WINDOWS, users), Draws(0, 1, 0))[0].labels
    assert not torch.equal(other["contrast_items"], whole["contrast_items"])


@pytest.mark.parametrize("affinity", [None, AT_RANDOM])
def test_two_ranks_learn_what_one_learns_from_the_joint_batch(encoder, two_ranks, affinity):
    objective, users = contrast(affinity), np.arange(6)
    weights = [*feature_items(encoder.items).parameters()]
    joint = objective(encoder, objective.views(Batch.of(WINDOWS, users), DRAWS)).sums_P
    parts = [objective.views(Batch.of(WINDOWS[a:b], users[a:b]), DRAWS) for a, b in ((0, 2), (2, 6))]
    shared = two_ranks(objective, encoder, parts)
    torch.testing.assert_close(shared, joint)
    torch.testing.assert_close(torch.autograd.grad(shared[0], weights), torch.autograd.grad(joint[0], weights))


def test_a_filler_is_nobody_s_negative(encoder, two_ranks):
    objective = contrast()
    views = objective.views(Batch.of(WINDOWS), DRAWS)
    filler = objective.views(replace(Batch.of(WINDOWS[:1]), weight=0.0), DRAWS)
    torch.testing.assert_close(two_ranks(objective, encoder, [views, filler]), objective(encoder, views).sums_P)
    assert objective.counts(filler).tolist() == [0]
