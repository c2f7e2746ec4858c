"""One run: what it says of itself is what was trained, and divergence is an outcome."""

import numpy as np
import pytest

from ray_userrep.evaluation.objective_loss import WINDOWS
from ray_userrep.scaling.study.point import finished_point, run_point, spent_on
from ray_userrep.training.records import read_records
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
