from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.autoregressive import TARGETS, Autoregressive
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.sampled import SampledSoftmax, by_counts
from ray_userrep.objectives.softmax import FullSoftmax
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import AutoregressiveConfig

WINDOWS = [[3, 1, 4, 1], [5], [9, 2, 6, 5, 3, 5], [8, 9]]
DRAWS = Draws(0, 0, 0)


@pytest.fixture
def encoder() -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": np.arange(10), "count": np.arange(10, 0, -1)}))
    return build_encoder(EncoderConfig(width=16), table, 6).eval()


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=6))
def test_views_shift_every_window_by_one(windows):
    batch = Batch.of(windows)
    batch = replace(batch, side={"price": batch.values_T * 10}, labels={"country": torch.arange(len(windows))})
    (view,) = Autoregressive(FullSoftmax()).views(batch, DRAWS)
    bounds = list(pairwise(view.offsets_B1))
    assert [view.values_T[low:high].tolist() for low, high in bounds] == [window[:-1] for window in windows]
    assert [view.side[TARGETS][low:high].tolist() for low, high in bounds] == [window[1:] for window in windows]
    assert torch.equal(view.side["price"], view.values_T * 10)
    assert view.max_len == max(map(len, windows)) - 1
    assert view.offsets_B1.dtype == batch.offsets_B1.dtype
    assert torch.equal(view.users_B, batch.users_B) and torch.equal(view.labels["country"], batch.labels["country"])


def test_a_horizon_draws_each_of_the_next_items_of_the_window_alike():
    length, horizon = 9, 4
    objective = Autoregressive(FullSoftmax(), horizon)
    batch = Batch.of([list(range(length))] * 3000)
    (view,) = objective.views(batch, DRAWS)
    ahead = (view.side[TARGETS] - view.values_T).reshape(3000, length - 1)
    for place in range(length - 1):
        left = min(horizon, length - 1 - place)
        shares = np.bincount(ahead[:, place], minlength=horizon + 1)[1:] / 3000
        np.testing.assert_allclose(shares, [1 / left] * left + [0] * (horizon - left), atol=0.04)
    (again,) = objective.views(batch, Draws(0, 1, 0))
    assert not torch.equal(again.side[TARGETS], view.side[TARGETS])


def test_the_loss_is_that_of_each_next_item(encoder):
    objective = Autoregressive(FullSoftmax())
    views = objective.views(Batch.of(WINDOWS), DRAWS)
    expected = torch.zeros(())
    for window in WINDOWS:
        for end in range(1, len(window)):
            scores = encoder(Batch.of([window[:end]])) @ encoder.items(None).T
            expected = expected - scores.log_softmax(-1)[0, window[end]]
    torch.testing.assert_close(objective(encoder, views).sums_P, expected[None])
    assert objective.counts(views).tolist() == [3 + 0 + 5 + 1]


@pytest.mark.parametrize("softmax", [FullSoftmax(), SampledSoftmax(by_counts(np.arange(10), 0.75), 32)])
@pytest.mark.parametrize("windows, weight", [(WINDOWS, 1.0), (WINDOWS, 0.0), ([[4], [2]], 1.0)])
def test_every_parameter_gets_a_finite_gradient(encoder, softmax, windows, weight):
    """Fillers and windows without targets too: ranks that skip a parameter leave the others waiting."""
    objective = Autoregressive(softmax)
    views = objective.views(replace(Batch.of(windows), weight=weight), DRAWS)
    loss = objective(encoder.train(), views).sums_P
    loss.sum().backward()
    nothing = weight == 0 or len(windows) == 2
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert not nothing or parameter.grad.abs().max() == 0, name
    if nothing:
        assert loss.item() == 0 and objective.counts(views).item() == 0


@pytest.mark.parametrize("kind, expected", [("full", FullSoftmax), ("sampled", SampledSoftmax)])
def test_build_counts_items_only_where_needed(kind, expected):
    counted = []

    def counts():
        counted.append(True)
        return np.ones(10, np.int64)

    config = AutoregressiveConfig.model_validate({"softmax": {"kind": kind}})
    table = ItemTable(pa.table({"item_id": np.arange(10), "count": np.ones(10, np.int64)}))
    objective = build_objective(config, EncoderConfig(), ObjectiveData(table, (), counts))
    assert isinstance(objective.softmax, expected) and len(counted) == (kind == "sampled")
    assert objective.lookahead == 1


def test_a_few_steps_learn_a_cycle(encoder):
    objective, optimiser = Autoregressive(FullSoftmax()), torch.optim.AdamW(encoder.parameters(), 1e-2)
    windows = [[(start + i) % 10 for i in range(6)] for start in range(10)]
    for batch in range(60):
        views = objective.views(Batch.of(windows), Draws(0, 0, batch))
        loss = objective(encoder, views).sums_P.sum() / objective.counts(views).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    scores = encoder(Batch.of([[0, 1, 2], [7, 8]])) @ encoder.items(None).T
    assert scores.argmax(-1).tolist() == [3, 9]
