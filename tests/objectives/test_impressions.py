"""What was shown beside a target: found as by a plain loop, and a softmax over the slate as by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.objectives.autoregressive import inputs_of
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.impressions import Impressions
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import AutoregressiveConfig

HOUR = 3600 * 10**6
RNG = Draws(0, 0, 0)
SEQUENCES = [[1, 2, 3, 0], [4, 5], [5, 6, 7, 8]]
USERS = [30, 10, 20]
SHOWN = [  # user, hour, item
    (30, 9.5, 11), (30, 9.5, 11), (30, 10, 2), (30, 10, 12), (30, 10.5, 13), (30, 35, 14), (20, 21, 15), (99, 10, 16),
]  # fmt: skip
BESIDE = {(0, 2): {11, 12}, (0, 3): {13}, (2, 8): {15}}  # by window and target, each one interaction every ten hours


def impressions_of(rows):
    users, hours, items = (np.array(column) for column in zip(*rows, strict=True))
    return Impressions.of(users.astype(np.int64), (hours * HOUR).astype(np.int64), items.astype(np.int64))


@pytest.fixture
def batch():
    """Windows with an interaction every ten hours."""
    batch = Batch.of(SEQUENCES)
    return replace(batch, users_B=torch.tensor(USERS), side={TIMESTAMPS: batch.positions() * 10 * HOUR})


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    built = build_encoder(EncoderConfig(width=8, unit_items=True), table, 8).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def objective_of(table, impressions, within_hours=24, **asked):
    shown = {"table": "shown.csv", "within_hours": within_hours}
    config = AutoregressiveConfig.model_validate({"impressions": shown} | asked)
    data = ObjectiveData(table, (), table.counts, impressions=lambda _: impressions)
    return build_objective(config, EncoderConfig(width=8, unit_items=True), data)


def by_hand(encoder, batch, temperature=None):
    """The slate's cross-entropy, target by target."""
    view, _ = inputs_of(batch)
    states = encoder.states(view)
    states = states if temperature is None else F.normalize(states, dim=-1) / temperature
    total = 0.0
    for (window, target), left in BESIDE.items():
        place = int(view.offsets_B1[window]) + SEQUENCES[window].index(target) - 1
        scores = encoder.items(torch.tensor([target, *sorted(left)])) @ states[place]
        total += F.cross_entropy(scores[None], torch.zeros(1, dtype=torch.long)).item()
    return total


def test_what_was_shown_since_the_last_interaction_competes(table, encoder, batch):
    objective = objective_of(table, impressions_of(SHOWN))
    views = objective.views(batch, RNG)
    assert objective.parts == ("next_item", "shown")
    assert objective.counts(views).tolist() == [7, len(BESIDE)]
    assert objective(encoder, views).sums_P[1].item() == pytest.approx(by_hand(encoder, batch), rel=1e-5)


def test_scores_are_those_of_the_softmax(table, encoder, batch):
    objective = objective_of(table, impressions_of(SHOWN), softmax={"kind": "full", "temperature": 0.1})
    found = objective(encoder, objective.views(batch, RNG)).sums_P[1].item()
    assert found == pytest.approx(by_hand(encoder, batch, 0.1), rel=1e-5)


def test_what_was_shown_long_before_does_not(table, batch):
    objective = objective_of(table, impressions_of(SHOWN), within_hours=9)
    (view,) = objective.views(batch, RNG)
    assert objective.counts([view])[1] == 2  # 13 was shown nine and a half hours before its target


def test_without_anything_shown_nothing_counts_and_gradients_are_zero(table, encoder, batch):
    objective = objective_of(table, impressions_of([(1, 10, 11)]))
    views = objective.views(batch, RNG)
    sums = objective(encoder, views).sums_P
    assert (objective.counts(views)[1], sums[1].item()) == (0, 0)
    sums[1].backward()
    assert all(one.grad is None or not one.grad.any() for one in encoder.parameters())


def test_extreme_scores_stay_finite(table, encoder, batch):
    objective = objective_of(table, impressions_of(SHOWN))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(100)
    assert objective(encoder, objective.views(batch, RNG)).sums_P.isfinite().all()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 7), st.integers(-1, 7)), min_size=1, max_size=8),
)
def test_looking_up_is_that_of_a_plain_loop(rows, asked):
    impressions = impressions_of(rows)
    users, after, until = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    found = impressions.between(users, after * HOUR, until * HOUR)
    expected = {
        (place, item)
        for place, (user, low, high) in enumerate(asked)
        for one, hour, item in rows
        if one == user and low < hour <= high
    }
    pairs = list(zip(*(column.tolist() for column in found), strict=True))
    assert len(pairs) == len(set(pairs)) and set(pairs) == expected
