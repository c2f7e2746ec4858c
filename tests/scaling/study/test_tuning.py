"""Which learning rate wins at each size, and when the winner may not be the best there is."""

import re

import pytest

from ray_userrep.recipes.ladder import ladder
from ray_userrep.scaling.study.grid import StudyPoint
from ray_userrep.scaling.study.point import DIVERGED, TRAINED
from ray_userrep.scaling.study.tuning import edge_warnings, tuned_factors

RECIPE = ladder()
LOSSES = {1000: {0.5: 3.0, 1.0: 2.5, 2.0: 2.8}, 4000: {0.5: 2.0, 1.0: 1.9, 2.0: None}, 9000: {0.5: None, 1.0: None}}


def test_the_lowest_loss_wins_and_what_diverged_is_out():
    trials, results = [], {}
    for size, losses in LOSSES.items():
        for factor, loss in losses.items():
            trials.append(StudyPoint(f"tune-n{size}-f{factor:g}-s0", "tune", size, 100, 0, RECIPE, 1.0, factor=factor))
            outcome = {"outcome": DIVERGED} if loss is None else {"outcome": TRAINED, "loss": {"mean": loss}}
            results[trials[-1].name] = outcome
    assert tuned_factors(trials, results) == {1000: 1.0, 4000: 1.0}


@pytest.mark.parametrize(
    ("tuned", "factors", "said"),
    [
        ({}, (), None),
        ({1000: 1.0}, (1.0,), None),
        ({1000: 1.0, 4000: 1.0}, (0.5, 1.0, 2.0), None),
        ({1000: 2.0, 4000: 1.0}, (0.5, 2.0, 1.0), "1 of 2 sizes"),
        ({1000: 2.0, 4000: 0.5}, (0.5, 1.0, 2.0), r"2 of 2 sizes .* \(factors 0.5, 1, 2\)"),
    ],
)
def test_a_winner_at_an_end_of_what_was_tried_is_said(tuned, factors, said):
    lines = edge_warnings(tuned, factors)
    assert len(lines) == (said is not None)
    assert said is None or re.match(said, lines[0])
