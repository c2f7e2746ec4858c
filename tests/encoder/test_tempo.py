"""When and how often: the numbers are what a loop over days counts, and parts of a history join to them."""

from datetime import UTC, datetime, timedelta
from math import log1p

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.tempo import DAY, STATE_WIDTH, Tempo, joined_states, tempo_numbers, tempo_states
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import TEMPO_WIDTH, EncoderConfig

UNTIL = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR = DAY // 24
hours = st.lists(st.integers(-30_000, 440_000), max_size=12).map(sorted)  # before 1970, and up to 2020
lives = st.lists(hours, min_size=1, max_size=5)


def states(histories: list[list[int]]) -> torch.Tensor:
    times = torch.tensor([hour * HOUR for life in histories for hour in life], dtype=torch.int64)
    return tempo_states(times, torch.tensor(np.cumsum([0, *map(len, histories)])))


def slow(life: list[int], until: int) -> list[float]:
    """Eight numbers of one history, a visit at a time."""
    days, end = sorted({hour // 24 for hour in life}), until // 24
    faded = [sum(0.5 ** ((end - day) / half_life) for day in days) for half_life in (7, 30, 90, 365)]
    return [log1p(x) for x in (end - days[-1], end - days[0], len(life), len(days), *faded)]


@given(lives, st.integers(440_000, 450_000))
def test_numbers_are_those_of_a_loop_over_days(histories, until):
    found = tempo_numbers(states(histories), until * HOUR).numpy()
    for life, row in zip(histories, found, strict=True):
        if life:
            np.testing.assert_allclose(row, slow(life, until), atol=1e-5)


@given(lives, st.lists(st.integers(0, 12), min_size=5, max_size=5))
def test_parts_join_to_the_whole_also_within_a_day(histories, cuts):
    cut = list(zip(histories, cuts, strict=False))
    old, new = states([life[:at] for life, at in cut]), states([life[at:] for life, at in cut])
    np.testing.assert_allclose(joined_states(old, new), states(histories), rtol=1e-5, atol=1e-5)


def test_fitted_numbers_have_mean_zero_and_the_deviation_asked_for_and_nobody_is_zeros():
    rng = np.random.default_rng(0)
    some = states([sorted(rng.integers(0, 9000, rng.integers(1, 30)).tolist()) for _ in range(200)])
    tempo = Tempo()
    tempo.fit(some, 9100 * HOUR, 0.25)
    found = tempo(torch.cat([some, torch.zeros(1, STATE_WIDTH)]), 9100 * HOUR)
    np.testing.assert_allclose(found[:-1].mean(0), np.zeros(TEMPO_WIDTH), atol=1e-4)
    np.testing.assert_allclose(found[:-1].std(0), np.full(TEMPO_WIDTH, 0.25), rtol=0.01)
    assert not found[-1].any()


def make() -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": list("abcdef"), "count": [6, 5, 4, 3, 2, 1]}))
    fields = {"width": 8, "readout": "bag", "bag_width": 6, "bag_kept": 4, "tempo": True}
    return build_encoder(EncoderConfig.model_validate(fields), table, 3)


ITEMS = [list("abcda"), [], list("f"), list("xbbz")]
TIMES = [[UNTIL - timedelta(days=400 - 90 * n) for n in range(5)], [], [UNTIL], [UNTIL - timedelta(days=3)] * 4]


def test_a_vector_is_the_bag_and_the_tempo_of_what_is_known():
    encoder = make()
    found = encoder.encode(ITEMS, TIMES, UNTIL)
    assert found.shape == (4, encoder.vector_width) == (4, 4 + TEMPO_WIDTH)
    until = int(UNTIL.timestamp()) // 3600
    for row, life, kept in zip(found, TIMES, (5, 0, 1, 2), strict=True):
        expected = slow([int(t.timestamp()) // 3600 for t in life][:kept], until) if kept else np.zeros(8)
        np.testing.assert_allclose(row[4:], expected, atol=1e-5)


def test_within_a_window_it_is_what_a_forward_pass_gives():
    encoder = make()
    times = torch.tensor([int(t.timestamp()) * 10**6 for t in TIMES[0][:3]])
    batch = Batch.of([[0, 1, 2]])
    batch.side[TIMESTAMPS] = times
    found = encoder.eval()(batch, int(UNTIL.timestamp()) * 10**6).detach().numpy()
    np.testing.assert_allclose(found, encoder.encode([list("abc")], [TIMES[0][:3]], UNTIL), atol=1e-6)


def test_stored_sums_are_brought_up_to_date_and_moved_to_another_day():
    encoder = make()
    before = encoder.encode_sums([life[:2] for life in ITEMS], [life[:2] for life in TIMES])
    since = encoder.encode_sums([life[2:] for life in ITEMS], [life[2:] for life in TIMES])
    for until in (UNTIL, UNTIL + timedelta(days=50)):
        found = encoder.scale_sums(encoder.add_sums(before, since), until)
        np.testing.assert_allclose(found, encoder.encode(ITEMS, TIMES, until), atol=1e-5)


def test_times_that_are_missing_or_of_another_shape_are_refused_by_name():
    encoder = make()
    for ask in (lambda: encoder.encode(ITEMS, TIMES), lambda: encoder.scale_sums(np.zeros((1, 15), np.float32))):
        with pytest.raises(UserError, match=r"counts days up to a moment \(encoder\.tempo\): name it"):
            ask()
    with pytest.raises(UserError, match=r"reads when interactions were \(encoder\.tempo\)"):
        encoder.encode(ITEMS, until=UNTIL)
    with pytest.raises(UserError, match="as many times as it has items"):
        encoder.encode(ITEMS, TIMES[::-1], UNTIL)
    with pytest.raises(UserError, match="timestamps: string is no time"):
        encoder.encode([["a"]], [["soon"]], UNTIL)
    with pytest.raises(ValueError, match=r"encoder\.tempo adds numbers to vectors of encoder\.readout bag"):
        EncoderConfig(tempo=True)


def test_it_is_saved_with_the_encoder(tmp_path):
    encoder = make()
    encoder.tempo.fit(states([[1, 5000], [700]]), 9000 * HOUR, 2.0)
    encoder.save_pretrained(tmp_path)
    loaded = UserEncoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.encode(ITEMS, TIMES, UNTIL), encoder.encode(ITEMS, TIMES, UNTIL))
