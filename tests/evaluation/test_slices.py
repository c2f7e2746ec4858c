"""Slices of the catalogue by counts, and figures over the targets of each beside a loop over users."""

import numpy as np
import pytest

from ray_userrep.evaluation.slices import SLICES, by_slice, slice_of_items
from ray_userrep.recipe.evaluation import EvaluationConfig


def test_a_tenth_two_fifths_and_a_half_by_falling_counts():
    counts = np.random.default_rng(0).permutation(np.arange(100) // 3)
    slices = slice_of_items(counts)
    assert np.bincount(slices).tolist() == [10, 40, 50]
    for first, second in ((0, 1), (1, 2)):
        assert counts[slices == first].min() >= counts[slices == second].max()
    assert slice_of_items(np.ones(3, np.int64)).tolist() == [0, 1, 2], "of equal ones the lower index first"


def test_figures_are_means_over_the_users_with_a_target_in_the_slice():
    rng = np.random.default_rng(1)
    users, slices = np.repeat(np.arange(60), 2), rng.integers(0, 2, 120)
    systems = {"encoder": rng.integers(1, 20, 120), "markov": rng.integers(1, 20, 120)}
    found = by_slice(slices, systems, users, EvaluationConfig(num_bootstrap=100))
    assert list(found) == ["head", "torso"], "the tail has no target"
    for name, told in found.items():
        here = slices == SLICES.index(name)
        assert told["targets"] == here.sum()
        for system, ranks in systems.items():
            of_users = []
            for user in range(60):
                own = ranks[here & (users == user)]
                if len(own):
                    of_users.append(np.mean([1 / np.log2(rank + 1) if rank <= 10 else 0 for rank in own]))
            metric = told["metrics"][system]["ndcg@10"]
            assert metric["mean"] == pytest.approx(np.mean(of_users))
            assert metric["low"] < metric["mean"] < metric["high"]
