"""Valleys and envelopes of laws whose optimum is known."""

import numpy as np
import pytest

from ray_userrep.scaling.law.isoflop import budgets, by_envelope, by_valleys, envelope, valleys
from ray_userrep.scaling.law.points import LawPoints


def valley_points(a: float = 0.45) -> LawPoints:
    """Symmetric valleys in ln N about a size that grows as C^a."""
    compute = np.repeat([1e12, 1e13, 1e14, 1e15], 5)
    best = 10 * compute**a
    n = best * np.tile([0.1, 0.3, 1.0, 3.0, 10.0], 4)
    loss = np.exp(3 - 0.05 * np.log(compute) + 0.02 * np.log(n / best) ** 2)
    return LawPoints.of(n, compute / (6 * n), loss)


def test_parabolas_find_the_bottom_of_each_budget():
    points = valley_points()
    found = valleys(points)
    np.testing.assert_allclose([one.compute for one in found], [1e12, 1e13, 1e14, 1e15])
    np.testing.assert_allclose([one.size for one in found], 10 * np.array([1e12, 1e13, 1e14, 1e15]) ** 0.45)
    np.testing.assert_allclose([one.loss for one in found], np.exp(3) * np.array([1e12, 1e13, 1e14, 1e15]) ** -0.05)
    assert by_valleys(points)["a"] == pytest.approx(0.45) and by_valleys(points)["b"] == pytest.approx(0.55)


def test_a_bottom_outside_the_sizes_is_not_relied_on():
    points = valley_points()
    left = points.take(points.N < 0.5 * 10 * points.C**0.45)
    few = LawPoints.of(np.repeat(left.N, 1), left.D, left.loss)
    assert by_valleys(few)["a"] is None


def test_budgets_a_little_apart_are_one():
    points = LawPoints.of([1e3, 2e3, 1e3], [1e6, 0.55e6, 1e7], [3.0, 2.9, 2.8])
    assert [rows.tolist() for rows in budgets(points)] == [[0, 1], [2]]


def test_a_dense_grid_is_not_one_budget():
    compute = np.geomspace(1e12, 1e15, 100)
    spans = [np.ptp(np.log(compute[rows])) for rows in budgets(LawPoints.of(compute / 6e6, 1e6 + 0 * compute, compute))]
    assert len(spans) > 25 and max(spans) <= 0.2


def test_the_envelope_holds_what_nothing_cheaper_beats():
    points = LawPoints.of([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [3.0, 2.0, 2.5, 1.0])
    assert envelope(points).tolist() == [0, 1, 3]
    assert by_envelope(valley_points())["a"] == pytest.approx(0.45, abs=0.05)
