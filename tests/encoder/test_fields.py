"""Side information as codes, against the calendar and hand-made examples."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import torch

from ray_userrep.encoder.fields import FIELDS, price_codes
from ray_userrep.encoder.readout import append_token
from ray_userrep.feed.batch import MASK, TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import EncoderConfig


def at(*times):
    return torch.tensor([int(time.timestamp()) * 10**6 for time in times])


def test_hours_of_the_week_are_the_calendar_s():
    times = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=37 * i) for i in range(50)]
    batch = replace(Batch.of([[0] * 50]), side={TIMESTAMPS: at(*times)})
    expected = [1 + time.weekday() * 24 + time.hour for time in times]
    assert FIELDS["hour"].codes(batch).tolist() == expected


def test_dates_are_the_calendar_s():
    times = [datetime(1904, 1, 1, tzinfo=UTC) + timedelta(days=13.37 * i) for i in range(8000)]
    batch = replace(Batch.of([[0] * len(times)]), side={TIMESTAMPS: at(*times)})
    assert FIELDS["day"].codes(batch).tolist() == [time.day for time in times]
    assert FIELDS["month"].codes(batch).tolist() == [time.month for time in times]
    expected = [1 + min(max(time.year - 1970, 0), FIELDS["year"].size - 2) for time in times]
    assert FIELDS["year"].codes(batch).tolist() == expected


def test_gaps_double_from_code_to_code_and_begin_anew_with_each_window():
    seconds = torch.tensor([100, 100, 101, 104, 50, 10**6])
    batch = replace(Batch.of([[0] * 4, [0] * 2]), side={TIMESTAMPS: seconds * 10**6})
    assert FIELDS["gap"].codes(batch).tolist() == [0, 1, 2, 3, 0, 20]


def test_prices_have_two_codes_to_a_doubling_and_none_when_unknown():
    codes = price_codes(torch.tensor([float("nan"), -1.0, 0.0, 1.0, 3.0, 7.0, 1e30]))
    assert codes.tolist() == [0, 0, 1, 3, 5, 7, FIELDS["price"].size - 1]


def test_events_keep_apart_and_zero_stays_unknown():
    batch = replace(Batch.of([[0] * 3]), side={"event": torch.tensor([0, 5**20, -(7**15)])})
    codes = FIELDS["event"].codes(batch)
    assert codes[0] == 0 and codes[1] != codes[2] and (codes >= 0).all() and (codes < FIELDS["event"].size).all()


def test_a_token_put_at_the_end_comes_at_the_time_of_the_last_and_has_no_side():
    side = {TIMESTAMPS: torch.arange(5), "price": torch.rand(5), "event": torch.arange(1, 6)}
    batch = append_token(replace(Batch.of([[7, 8], [], [9, 1, 2]]), side=side).to("cpu"), MASK)
    assert batch.values_T.tolist() == [7, 8, MASK, 9, 1, 2, MASK]
    assert batch.offsets_B1.tolist() == batch.host_B1.tolist() == [0, 3, 3, 7] and batch.max_len == 4
    assert batch.side[TIMESTAMPS].tolist() == [0, 1, 1, 2, 3, 4, 4]
    assert batch.side["event"].tolist() == [1, 2, 0, 3, 4, 5, 0]
    assert batch.side["price"].isnan().tolist() == [False, False, True, False, False, False, True]


def test_context_changes_states_once_it_has_learned(make_encoder):
    config = EncoderConfig(width=16, context=("gap", "hour"))
    encoder = make_encoder()
    from ray_userrep.encoder.user_encoder import build_encoder

    seeing = build_encoder(config, encoder.item_table, 12).eval()
    batch = replace(Batch.of([[1, 2, 3]]), side={TIMESTAMPS: torch.tensor([0, 10**9, 10**10])})
    later = replace(batch, side={TIMESTAMPS: torch.tensor([0, 10**9, 10**13])})
    assert torch.equal(seeing(batch), seeing(later))
    with torch.no_grad():
        for parameter in seeing.parameters():
            parameter.normal_(std=0.3)
    assert torch.equal(seeing.states(batch)[:2], seeing.states(later)[:2])
    assert not torch.equal(seeing(batch), seeing(later))
