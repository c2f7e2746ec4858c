"""One run: what it reports is what was trained, divergence is an outcome; the best learning rate at each size."""

import re

import numpy as np
import pytest

from ray_userrep.evaluation.losses import WINDOWS
from ray_userrep.recipes.ladder import ladder
from ray_userrep.scaling.study.grid import StudyPoint
from ray_userrep.scaling.study.point import (
    DIVERGED,
    TRAINED,
    edge_warnings,
    finished_point,
    run_point,
    spent_on,
    tuned_factors,
)
from ray_userrep.training.runs import read_records
from tests.training.conftest import small_recipe, write_corpus

COLD = {"split": {"rule": "cold_user"}, "train.eval_every": 1e9}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(str(tmp_path / "corpus"))


def test_a_run_s_size_data_and_compute_are_what_was_trained(corpus, tmp_path):
    recipe = small_recipe(**{**COLD, "stream.user_share": 0.5, "train.epochs": 1.5})
    run = str(tmp_path / "run")
    result = run_point(recipe, corpus, run, {"name": "x"}, lambda record: None)
    assert result["outcome"] == "trained" and finished_point(run)["loss"] == result["loss"]
    assert result["N"] == result["parameters"]["backbone"]
    last = [record for record in read_records(run) if record["kind"] == "train"][-1]
    assert result["steps"] == last["step"] and result["epochs"] == pytest.approx(1.5, abs=0.2)
    assert result["D"] == pytest.approx(result["epochs"] * result["unique"])
    assert result["unique"] < 0.75 * spent_on(small_recipe(**COLD), corpus)["unique"]
    assert 5 < result["C"] / (result["N"] * result["D"]) < 10 and result["flops"] > result["C"]
    assert result["loss"]["mean"] < np.log(60) + 0.2


def test_a_contrast_is_measured_by_its_own_loss(tmp_path):
    corpus = write_corpus(str(tmp_path / "corpus"), num_users=800)
    contrast = {
        "objective": {"kind": "contrastive", "views": "subsequences"},
        "split": COLD["split"] | {"valid_share": 0.2},
    }
    recipe = small_recipe(**{**COLD, **contrast, "train.epochs": 2.0})
    result = run_point(recipe, corpus, str(tmp_path / "run"), {"name": "x"}, lambda record: None)
    assert result["outcome"] == "trained" and 0 < result["loss"]["mean"] < np.log(WINDOWS)


def test_divergence_is_an_outcome(corpus, tmp_path):
    recipe = small_recipe(**{**COLD, "train.learning_rate": 1e20, "train.clip_norm": 1e30})
    run = str(tmp_path / "run")
    run_point(recipe, corpus, run, {"name": "x"}, lambda record: None)
    done = finished_point(run)
    assert done["outcome"] == "diverged" and "the loss was" in done["message"] and "loss" not in done


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
