"""Learning rates against the formulas written out."""

import math

import pytest

from ray_userrep.recipe.train import ScheduleConfig
from ray_userrep.training.loop import scheduled_rate


def rates(total, **config):
    return [scheduled_rate(ScheduleConfig(**config), 2.0, step, total) for step in range(total)]


def test_warmup_is_linear_and_reaches_the_peak():
    assert rates(100, warmup_share=0.1)[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])


def test_cosine_falls_to_the_floor_at_the_last_step():
    got = rates(101, warmup_share=0.0, floor=0.1)
    want = [2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * i / 100))) for i in range(101)]
    assert got == pytest.approx(want)


def test_wsd_stays_at_the_peak_and_then_falls_in_a_line():
    got = rates(100, kind="wsd", warmup_share=0.0, decay_share=0.25, floor=0.0)
    assert got[:75] == [2.0] * 75
    assert got[75:] == pytest.approx([2.0 * (99 - i) / 25 for i in range(75, 100)])


def test_constant_stays():
    assert rates(10, kind="constant", warmup_share=0.0) == [2.0] * 10


def test_a_single_step_is_defined():
    assert rates(1) == [2.0]
