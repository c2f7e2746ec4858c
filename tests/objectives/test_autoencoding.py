"""What is hidden, and the loss against one window at a time."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import CLS, MASK, START, TIMESTAMPS, Batch
from ray_userrep.objectives.augment import without_times
from ray_userrep.objectives.autoencoding import Autoencoding
from ray_userrep.objectives.autoregressive import TARGETS
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.softmax import FullSoftmax
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.objective import AutoencodingConfig
from ray_userrep.training.records import progress_line

WINDOWS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8], [7, 9]]
DRAWS = Draws(0, 0, 0)


def objective(readout="mask", mask_rate=0.4, last_rate=0.2):
    return Autoencoding(FullSoftmax(), [], readout, mask_rate, last_rate, 0.1)


def timed(windows):
    batch = Batch.of(windows)
    return replace(batch, side={TIMESTAMPS: torch.arange(batch.num_tokens) * 3_600_000_000})


@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 5))
def test_hidden_items_are_the_targets_and_every_window_has_one(windows, epoch):
    batch = timed(windows)
    (view,) = objective().views(batch, Draws(0, epoch, 0))
    is_hidden = view.values_T == MASK
    assert torch.equal(batch.values_T[is_hidden], view.labels[TARGETS])
    assert torch.equal(batch.values_T[~is_hidden], view.values_T[~is_hidden])
    assert all(is_hidden[low:high].any() for low, high in pairwise(batch.offsets_B1.tolist()))
    assert torch.equal(view.side[TIMESTAMPS], batch.side[TIMESTAMPS])


def test_what_is_hidden_depends_on_user_place_and_epoch_alone():
    batch = timed(WINDOWS)
    (view,) = objective().views(batch, DRAWS)
    (alone,) = objective().views(
        replace(timed(WINDOWS[2:3]), users_B=batch.users_B[2:3], labels={START: batch.labels[START][2:3]}),
        Draws(0, 0, 7),
    )
    assert torch.equal(alone.values_T, view.values_T[6:12])
    (later,) = objective().views(batch, Draws(0, 1, 0))
    assert not torch.equal(view.values_T, later.values_T)


def test_shares_are_those_asked_for():
    batch = timed([[1] * 50] * 400)
    (view,) = objective(mask_rate=0.2, last_rate=0.3).views(batch, DRAWS)
    is_hidden = (view.values_T == MASK).view(400, 50)
    only_last = (is_hidden.sum(1) == 1) & is_hidden[:, -1]
    assert only_last.float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert is_hidden[~only_last].float().mean().item() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("readout", ["mask", "cls", "mean"])
def test_the_loss_is_that_of_each_hidden_item(table, readout):
    torch.manual_seed(0)
    config = EncoderConfig(width=16, readout=readout, backbone=TransformerConfig(causal=False))
    encoder = build_encoder(config, table, 6, hides_items=True).eval()
    chosen = objective(readout)
    (view,) = chosen.views(timed(WINDOWS), DRAWS)
    assert (view.values_T == CLS).sum() == (4 if readout == "cls" else 0)
    expected, number = torch.zeros(()), 0
    for window, (low, high) in zip(WINDOWS, pairwise(view.offsets_B1.tolist()), strict=True):
        values = view.values_T[low:high]
        states = encoder.states(Batch.of([values.tolist()]))
        for place in (values == MASK).nonzero()[:, 0].tolist():
            state = {"mask": states[place], "cls": states[-1], "mean": states.mean(0)}[readout]
            expected = expected - (encoder.items(None) @ state).log_softmax(0)[window[place]]
            number += 1
    torch.testing.assert_close(chosen(encoder, [view]).sums_P, expected[None])
    assert chosen.counts([view]).tolist() == [number]


def test_heads_predict_what_is_known_of_hidden_items(table):
    encoder = EncoderConfig(width=16, readout="mask", backbone=TransformerConfig(causal=False))
    config = AutoencodingConfig(heads=("category", "price", "hour"), mask_rate=0.5)
    chosen = build_objective(config, encoder, ObjectiveData(table, (), lambda: np.ones(20, np.int64)))
    (view,) = chosen.views(timed([[3, 5, 0, 4, 8, 3]]), DRAWS)
    hidden = view.labels[TARGETS].tolist()
    category, price = view.labels["category"], view.labels["price"]
    assert [int(c) > 0 for c in category] == [item != 3 for item in hidden]
    assert [int(p) > 0 for p in price] == [item != 5 for item in hidden]
    where = {item: code for item, code in zip(hidden, category.tolist(), strict=True)}
    assert all(where[a] == where[b] for a in where for b in where if a % 4 == b % 4 and 3 not in (a, b))
    assert chosen.parts == ("hidden_item", "hidden_category", "hidden_price", "hidden_hour")
    counts = chosen.counts([view]).tolist()
    assert counts == [len(hidden), sum(i != 3 for i in hidden), sum(i != 5 for i in hidden), len(hidden)]
    built = build_encoder(encoder, table, 6, hides_items=True)
    sums = chosen(built, [view]).sums_P
    # Heads start at zero: every code is equally likely.
    torch.testing.assert_close(sums[3], torch.tensor(len(hidden) * np.log(169), dtype=torch.float32))


def test_a_hidden_item_is_not_given_away_by_its_price(table):
    batch = timed(WINDOWS)
    batch = replace(batch, side=batch.side | {"price": batch.values_T.double(), "event": batch.values_T + 1})
    (view,) = objective().views(batch, DRAWS)
    is_hidden = view.values_T == MASK
    assert view.side["price"][is_hidden].isnan().all() and (view.side["event"][is_hidden] == 0).all()
    assert torch.equal(view.side["price"][~is_hidden], batch.side["price"][~is_hidden])


def test_a_few_steps_learn_a_cycle(table):
    torch.manual_seed(0)
    config = EncoderConfig(width=16, readout="mask", dropout=0, backbone=TransformerConfig(causal=False, dropout=0))
    encoder, chosen = build_encoder(config, table, 6, hides_items=True), objective(last_rate=0.5)
    optimiser = torch.optim.AdamW(encoder.parameters(), 1e-2)
    windows = [[(start + i) % 20 for i in range(6)] for start in range(20)]
    for epoch in range(80):
        views = chosen.views(timed(windows), Draws(0, epoch, 0))
        loss = chosen(encoder, views).sums_P.sum() / chosen.counts(views).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    scores = encoder(Batch.of([[0, 1, 2, 3], [16, 17, 18]])) @ encoder.items(None).T
    assert scores.argmax(-1).tolist() == [4, 19]
    assert F.cross_entropy(scores, torch.tensor([4, 19])) < 1.0


@pytest.mark.parametrize("readout", ["cls", "mean"])
def test_places_can_predict_whatever_the_readout(table, readout):
    torch.manual_seed(0)
    config = EncoderConfig(width=16, readout=readout, backbone=TransformerConfig(causal=False))
    encoder = build_encoder(config, table, 6, hides_items=True).eval()
    chosen = Autoencoding(FullSoftmax(), [], readout, 0.4, 0.2, 0.1, at_place=True)
    (view,) = chosen.views(timed(WINDOWS), DRAWS)
    states, expected = encoder.states(view), torch.zeros(())
    for window, (low, high) in zip(WINDOWS, pairwise(view.offsets_B1.tolist()), strict=True):
        for place in range(len(window)):
            if view.values_T[low + place] == MASK:
                scores = (encoder.items(None) @ states[low + place]).log_softmax(0)
                expected = expected - scores[window[place]]
        assert high - low == len(window) + (readout == "cls")
    torch.testing.assert_close(chosen(encoder, [view]).sums_P, expected[None])


@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 5))
def test_crops_and_shuffles_come_before_hiding(windows, epoch):
    batch = timed(windows)
    batch = replace(batch, side=batch.side | {"item": batch.values_T.double()})
    chosen = Autoencoding(FullSoftmax(), [], "mask", 0.3, 0.0, 0.1, crop=0.6, shuffle=0.5)
    (view,) = chosen.views(batch, Draws(0, epoch, 0))
    times = batch.side[TIMESTAMPS]
    for window, (low, high), (first, last) in zip(
        windows, pairwise(view.offsets_B1.tolist()), pairwise(batch.offsets_B1.tolist()), strict=True
    ):
        assert high - low == max(1, round(0.6 * len(window)))
        run = sorted(view.side[TIMESTAMPS][low:high].tolist())
        places = [times[first:last].tolist().index(time) for time in run]
        assert places == list(range(places[0], places[0] + len(places)))
    is_hidden = view.values_T == MASK
    truth = {int(time): int(item) for time, item in zip(times, batch.values_T, strict=True)}
    shown = [truth[int(time)] for time in view.side[TIMESTAMPS]]
    assert [item for item, hidden in zip(shown, is_hidden, strict=True) if hidden] == view.labels[TARGETS].tolist()
    assert view.side["item"][~is_hidden].tolist() == view.values_T[~is_hidden].tolist()


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5))
def test_hidden_items_take_the_time_of_the_one_shown_before(hidden):
    batch = timed([[1] * len(window) for window in hidden])
    shown = without_times(batch, torch.tensor([one for window in hidden for one in window])).side[TIMESTAMPS].tolist()
    times = batch.side[TIMESTAMPS].tolist()
    for low, window in zip(batch.offsets_B1.tolist(), hidden, strict=False):
        seen = [i for i, one in enumerate(window) if not one]
        for i, one in enumerate(window):
            before = [j for j in seen if j < i]
            expected = times[low + i] if not one else times[low + (before or seen)[-1 if before else 0]] if seen else 0
            assert shown[low + i] == expected


def test_times_are_hidden_where_they_are_predicted_alone(table):
    encoder = EncoderConfig(width=16, readout="mask", context=("hour",), backbone=TransformerConfig(causal=False))
    data, batch = ObjectiveData(table, (), lambda: np.ones(20, np.int64)), timed([[3, 5, 0, 4, 8, 3]] * 4)
    views = {}
    for heads in ((), ("month", "hour")):
        chosen = build_objective(AutoencodingConfig(heads=heads, mask_rate=0.5), encoder, data)
        (views[heads],) = chosen.views(batch, DRAWS)
    plain, told = views[()], views["month", "hour"]
    is_hidden = told.values_T == MASK
    assert torch.equal(plain.side[TIMESTAMPS], batch.side[TIMESTAMPS])
    assert not torch.equal(told.side[TIMESTAMPS][is_hidden], batch.side[TIMESTAMPS][is_hidden])
    assert told.labels["hour"].tolist() == FIELDS["hour"].codes(batch)[is_hidden].tolist()


def test_heads_that_the_log_lacks_are_refused_or_dropped_and_named(table):
    encoder = EncoderConfig(width=16, readout="mean", backbone=TransformerConfig(causal=False))
    heads = ("category", "category_2", "category_3", "event", "year")
    data = ObjectiveData(table, (), lambda: np.ones(20, np.int64))
    with pytest.raises(UserError, match=r"objective\.heads category_3"):
        build_objective(AutoencodingConfig(heads=heads), encoder, data)
    chosen = build_objective(AutoencodingConfig(heads=heads, missing_heads="drop"), encoder, data)
    assert chosen.dropped_heads == ("category_3", "event")
    assert chosen.parts == ("hidden_item", "hidden_category", "hidden_category_2", "hidden_year")
    (view,) = chosen.views(timed([[0, 1, 2, 3, 4, 6]] * 5), DRAWS)
    items, second = view.labels[TARGETS].tolist(), view.labels["category_2"].tolist()
    pairs = list(zip(items, second, strict=True))
    assert all((a == b) == (i % 3 == j % 3) for i, a in pairs for j, b in pairs if 3 not in (i, j))
    assert all((code > 0) == (item != 3) for item, code in pairs)
    line = progress_line({"kind": "model", "embedding": 5, "backbone": 5, "dropped_heads": list(chosen.dropped_heads)})
    assert "category_3, event" in line
