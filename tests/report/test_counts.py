"""Figures of counts beside what pandas counts, and what is drawn beside what was counted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from ray_userrep.report import counts

frequencies = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(frequencies)
def test_the_tail_is_how_many_have_at_least_so_many(values):
    numbers, having = counts.at_least(pd.Series(values).value_counts().to_dict())
    assert having.tolist() == [(pd.Series(values) >= number).sum() for number in numbers]
    assert numbers.tolist() == sorted(set(values))


@given(frequencies)
def test_doubling_steps_hold_everyone_and_everything(values):
    found = counts.by_doubling(pd.Series(values).value_counts().to_dict())
    bounds = [0, *(2**step for step in range(len(found)))]
    grouped = pd.Series(values).groupby(pd.cut(values, bounds), observed=False).agg(["size", "sum"])
    assert list(found.values()) == list(grouped.itertuples(index=False, name=None))
    assert list(found)[:4] == ["1", "2", "≤ 4", "≤ 8"][: len(found)]


@pytest.mark.parametrize(
    ("span", "name"), [(5, "day"), (200, "day"), (201, "week"), (3000, "4 weeks"), (90_000, "year")]
)
def test_days_are_joined_until_they_can_be_told_apart(span, name):
    rng = np.random.default_rng(span)
    there = sorted({0, span - 1, *rng.integers(0, span, 40).tolist()})
    days = {str(np.datetime64("1970-01-03") + day): int(rng.integers(1, 9)) for day in there}
    found, begins, told = counts.per_day(days)
    width = {"day": 1, "week": 7, "4 weeks": 28, "year": 365}[name]
    series = pd.Series(days.values(), index=pd.to_datetime(list(days))).resample(f"{width}D", origin="start").sum()
    assert found == name and told.tolist() == series.tolist()
    assert begins == [day.date() for day in series.index]


def test_what_is_drawn_is_what_was_counted(monkeypatch):
    bars, steps = [], []
    monkeypatch.setattr(Axes, "bar", spy(Axes.bar, bars))
    monkeypatch.setattr(Axes, "step", spy(Axes.step, steps))
    assert counts.days_figure({"2024-01-01": 3, "2024-01-04": 5}).startswith("<svg")
    assert counts.lengths_figure({1: 6, 4: 2}).startswith("<svg")
    assert counts.tails_figure({"items": {1: 7, 9: 1}, "users": {2: 4}}).startswith("<svg")
    heights = [np.round(height, 3).tolist() for _, height in bars]
    assert heights == [[3, 0, 0, 5], [0.75, 0, 0.25], [0.429, 0, 0.571]]
    assert [(x.tolist(), y.tolist()) for x, y in steps] == [([1, 9], [8, 1]), ([2], [4])]


def spy(draw, seen):
    def drawn(self, x, y, *rest, **style):
        seen.append((x, y))
        return draw(self, x, y, *rest, **style)

    return drawn
