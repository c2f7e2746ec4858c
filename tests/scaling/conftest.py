"""Synthetic runs of known laws."""

from collections.abc import Callable

import numpy as np
import pytest

from ray_userrep.scaling.law.points import Floats, LawPoints

TRUTH = {"E": 1.8, "A": 20.0, "α": 0.35, "B": 100.0, "β": 0.37}


def law(n: Floats, d: Floats) -> Floats:
    """The power law of `TRUTH`."""
    return TRUTH["E"] + TRUTH["A"] / n ** TRUTH["α"] + TRUTH["B"] / d ** TRUTH["β"]


def grid(num_sizes: int = 6, num_data: int = 4, num_seeds: int = 1) -> tuple[Floats, Floats]:
    """Sizes from 3 K to 1 M on data from 100 K to 10 M, each several times."""
    n, d = np.meshgrid(np.geomspace(3e3, 1e6, num_sizes), np.geomspace(1e5, 1e7, num_data))
    return np.repeat(n.ravel(), num_seeds), np.repeat(d.ravel(), num_seeds)


def noisy(loss: Floats, noise: float, seed: int) -> Floats:
    return loss * np.exp(noise * np.random.default_rng(seed).normal(size=len(loss)))


@pytest.fixture
def make_points() -> Callable[..., LawPoints]:
    """Points of the power law, or of another, on a grid."""

    def make(
        noise: float = 0.01, seed: int = 0, truth: Callable[[Floats, Floats], Floats] = law, **size: int
    ) -> LawPoints:
        n, d = grid(**size)
        return LawPoints.of(n, d, noisy(truth(n, d), noise, seed))

    return make
