"""Resamples as weights: as many users as there are, drawn evenly, whatever the memory they are taken in."""

import numpy as np
import pytest

from ray_userrep.evaluation import measure
from ray_userrep.evaluation.measure import mean_of, resamples


def drawn(num_users, num):
    parts = list(resamples(np.random.default_rng(0), num_users, num))
    assert [row for rows, _ in parts for row in range(rows.start, rows.stop)] == list(range(num))
    return np.concatenate([weights for _, weights in parts])


def test_each_resample_has_as_many_users(monkeypatch):
    whole = drawn(30, 2000)
    assert (whole.sum(1) == 30).all() and whole.mean(0) == pytest.approx(np.ones(30), abs=0.1)
    assert whole.var() == pytest.approx(1 - 1 / 30, abs=0.05)  # that of a binomial
    monkeypatch.setattr(measure, "_CHUNK", 100)
    assert (drawn(30, 2000) == whole).all()


def test_a_mean_is_the_mean():
    right = mean_of(lambda truth, predicted: truth == predicted)
    truth, predicted = np.array([1, 2, 3, 4]), np.array([1, 2, 0, 0])
    assert right(truth, predicted) == 0.5
    assert right.weighted(truth, predicted, np.array([[1.0, 0, 0, 0], [1, 1, 0, 2]])) == pytest.approx([1.0, 0.5])
