"""The bag of a window from a part of it, against the plain loss of one window at a time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import START, Batch
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.history import History
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe

NUM_ITEMS, WIDTH = 12, 5
WINDOWS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8], [7, 9]]
BAG = {"kind": "weighted", "parts": [
    {"weight": 1.0, "objective": {"kind": "autoregressive"}}, {"weight": 1.0, "objective": {"kind": "history"}},
]}  # fmt: skip


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": range(NUM_ITEMS), "count": range(1, NUM_ITEMS + 1)}))
    return build_encoder(EncoderConfig(width=8, bag_width=WIDTH, readout="bag"), table, 8)


@pytest.fixture
def objective():
    torch.manual_seed(1)
    made = History(NUM_ITEMS, WIDTH, "all", 0.5)
    torch.nn.init.normal_(made.decoder.bias)
    return made


def plain(encoder, objective, view, windows):
    """Each window's mean negative log-likelihood under the softmax of its kept items' vector."""
    total = torch.zeros(())
    for (low, high), window in zip(pairwise(view.offsets_B1.tolist()), windows, strict=True):
        vector = encoder(Batch.of([view.values_T[low:high].tolist()]))[0]
        logits = objective.decoder.weight @ vector + objective.decoder.bias[:, 0]
        total = total - logits.log_softmax(0)[torch.tensor(window)].mean()
    return total


def test_the_loss_and_its_gradients_are_the_plain_ones(encoder, objective):
    views = objective.views(Batch.of(WINDOWS), Draws(0, 0, 0))
    parameters = [*objective.parameters(), encoder.bag.items.weight]
    found = objective(encoder, views).sums_P[0]
    expected = plain(encoder, objective, views[0], WINDOWS)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert objective.counts(views).tolist() == [len(WINDOWS)]


@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 5))
def test_a_part_is_kept_in_its_order_and_never_nothing(windows, epoch):
    (view,) = History(NUM_ITEMS, WIDTH, "all", 0.7).views(Batch.of(windows), Draws(0, epoch, 0))
    for (low, high), window in zip(pairwise(view.offsets_B1.tolist()), windows, strict=True):
        rest = iter(window)
        assert high > low and all(item in rest for item in view.values_T[low:high].tolist())


def test_what_is_kept_depends_on_user_and_place_and_the_share_is_the_one_asked_for(objective):
    batch = Batch.of([list(range(10))] * 500)
    (view,) = objective.views(batch, Draws(0, 0, 0))
    assert 0.47 < len(view.values_T) / 5000 < 0.53
    alone = replace(Batch.of([list(range(10))], np.array([7])), labels={START: batch.labels[START][7:8]})
    (one,) = objective.views(alone, Draws(0, 0, 3))
    low, high = view.offsets_B1[7:9].tolist()
    assert torch.equal(one.values_T, view.values_T[low:high])


def test_the_newer_part_is_told_from_the_older(encoder):
    objective = History(NUM_ITEMS, WIDTH, "future", 0.25)
    windows = [[3, 1, 4, 1], [2, 6], [2, 6, 5, 3, 5, 8, 9, 7]]
    views = objective.views(Batch.of(windows), Draws(0, 0, 0))
    shown = [views[0].values_T[low:high].tolist() for low, high in pairwise(views[0].offsets_B1.tolist())]
    assert shown == [[3, 1, 4], [2], [2, 6, 5, 3, 5, 8]] and objective.lookahead == 1
    rest = [window[len(part) :] for window, part in zip(windows, shown, strict=True)]
    torch.testing.assert_close(objective(encoder, views).sums_P[0], plain(encoder, objective, views[0], rest))


def test_a_filler_adds_nothing(encoder, objective):
    views = objective.views(replace(Batch.of(WINDOWS), weight=0.0), Draws(0, 0, 0))
    assert objective(encoder, views).sums_P.item() == 0 and objective.counts(views).item() == 0


@pytest.mark.parametrize(
    ("encoder", "objective", "message"),
    [
        ({"bag_width": 8}, {"kind": "autoregressive"}, r"encoder\.bag_width is trained by objective\.kind history"),
        ({"bag_width": 8, "readout": "bag"}, {"kind": "history"}, "leaves the backbone to another objective"),
        ({"bag_width": 8}, BAG, r"encoder\.bag_width is trained by objective\.kind history at encoder\.readout bag"),
        ({"readout": "cls", "backbone": {"kind": "gru"}}, {"kind": "history"}, "no token for encoder.readout cls"),
    ],
)
def test_what_would_not_be_trained_is_refused(encoder, objective, message):
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate({"name": "x", "encoder": encoder, "objective": objective})
