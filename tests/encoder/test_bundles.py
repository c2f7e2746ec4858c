"""Bundles against a plain loop over the calendar, and that no slot is told in two ways."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch

from ray_userrep.encoder.bundles import Bundles, Bundling, bundling_of
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import EncoderConfig

SLOTS = {
    "hour": lambda time: (time.date(), time.hour),
    "day": lambda time: time.date(),
    "week": lambda time: time.isocalendar()[:2],
}
STEPS = {"hour": 0.4, "day": 9.0, "week": 60.0}  # hours between interactions, about
LENGTHS, MAX_LEN = [12, 1, 0, 7, 12], 12


def moments(slot, seed=0):
    """Times of each window, oldest first, many of a slot."""
    rng, began = np.random.default_rng(seed), datetime(2025, 12, 20, tzinfo=UTC)
    gaps = [np.cumsum(rng.exponential(STEPS[slot], length)) for length in LENGTHS]
    return [[began + timedelta(hours=float(hours)) for hours in one] for one in gaps]


def batch_at(windows, seed=0):
    rng = np.random.default_rng(seed)
    batch = Batch.of([rng.integers(0, 30, len(times)) for times in windows])
    times_T = [int(time.timestamp()) * 10**6 for times in windows for time in times]
    return replace(batch, side={TIMESTAMPS: torch.tensor(times_T, dtype=torch.int64)})


def rows_of(times, slot, singles):
    """Places of each row of a window, one slot after the other, and whether it is single."""
    rows = [list(places) for _, places in groupby(range(len(times)), lambda place: SLOTS[slot](times[place]))]
    newest = {*range(len(times))[max(0, len(times) - singles) :]}
    found = []
    for places in rows:
        is_single = bool(newest & {*places})
        found += [([place], True) for place in places] if is_single else [(places, False)]
    return found


@pytest.mark.parametrize("singles", [0, 1, 5, 40])
@pytest.mark.parametrize("slot", SLOTS)
def test_a_row_is_the_mean_of_its_interactions(slot, singles):
    windows = moments(slot)
    batch = batch_at(windows)
    bundles = Bundles(bundling_of(EncoderConfig(**config(slot, singles))), 4)
    torch.nn.init.normal_(bundles.kinds)
    x_TD = torch.randn(batch.num_tokens, 4)
    rows = bundles(x_TD, batch)
    expected, lengths, row_T = [], [], []
    for first, times in zip(batch.offsets_B1.tolist(), windows, strict=False):
        found = rows_of(times, slot, singles)
        lengths.append(len(found))
        for places, is_single in found:
            row_T += [len(expected)] * len(places)
            expected.append(x_TD[[first + place for place in places]].mean(0) + bundles.kinds[int(is_single)])
    torch.testing.assert_close(rows.x_KD, torch.stack(expected))
    assert rows.row_T.tolist() == row_T and rows.windows.lengths().tolist() == lengths
    assert len(expected) < batch.num_tokens or singles > MAX_LEN
    for low, high in pairwise(rows.windows.offsets_B1.tolist()):  # what else is told of a row is of its first
        assert rows.windows.side[TIMESTAMPS][low:high].diff().ge(0).all()


def config(slot, singles):
    return {"bundle": slot, "singles": singles, "backbone": {"kind": "transformer", "causal": False}}


@pytest.mark.parametrize("seed", range(5))
def test_no_slot_is_told_both_as_a_bundle_and_one_by_one(seed):
    """Else the bundle would hold what is asked of a single interaction that is hidden."""
    batch, bundling = batch_at(moments("day", seed)), Bundling(86_400 * 10**6, 3)
    slot_T, is_single_T = bundling.floor(batch.side[TIMESTAMPS]), bundling.is_single(batch)
    window_T = batch.per_token(torch.arange(batch.num_users))
    told = {*zip(window_T.tolist(), slot_T.tolist(), is_single_T.tolist(), strict=True)}
    assert len(told) == len({(window, slot) for window, slot, _ in told})
    newest_T = batch.per_token(batch.offsets_B1[1:]) - torch.arange(batch.num_tokens) <= 3
    assert is_single_T[newest_T].all() and not is_single_T.all()


@pytest.fixture(params=["transformer", "hstu", "cnn", "mean"])
def encoder(table, request):
    torch.manual_seed(0)
    fields = config("day", 3) | {"width": 16, "context": ("hour",), "readout": "mean"}
    fields["backbone"] = {"kind": request.param, "causal": False}
    built = build_encoder(EncoderConfig.model_validate(fields), table, MAX_LEN).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


@torch.no_grad()
def test_the_order_inside_a_bundle_does_not_matter_and_that_of_bundles_does(encoder):
    batch = batch_at(moments("day"))
    begins_T = bundling_of(EncoderConfig.model_validate(encoder.config.encoder)).begins(batch)
    bounds, moved, turned = [*begins_T.nonzero()[:, 0].tolist(), batch.num_tokens], [], []
    for low, high in pairwise(bounds):
        moved += [*range(low, high)][::-1]
    for low, high in pairwise(batch.offsets_B1.tolist()):
        turned += [*range(low, high)][::-1]
    states_TD = encoder.states(batch)
    same_TD, other_TD = (encoder.states(replace(batch, values_T=batch.values_T[order])) for order in (moved, turned))
    torch.testing.assert_close(same_TD, states_TD, rtol=1e-4, atol=1e-5)
    assert moved != [*range(batch.num_tokens)] and (other_TD - states_TD).abs().max() > 1e-3


@torch.no_grad()
def test_windows_do_not_see_each_other_and_interactions_of_a_bundle_share_its_state(encoder):
    windows = moments("day")
    batch = batch_at(windows)
    states_TD = encoder.states(batch)
    for number, (low, high) in enumerate(pairwise(batch.offsets_B1.tolist())):
        alone = replace(
            Batch.of([batch.values_T[low:high].numpy()]),
            side={name: column[low:high] for name, column in batch.side.items()},
        )
        torch.testing.assert_close(encoder.states(alone), states_TD[low:high], rtol=1e-4, atol=1e-5)
        for places, _ in rows_of(windows[number], "day", 3):
            assert all(torch.equal(states_TD[low + place], states_TD[low + places[0]]) for place in places)
