"""Temperatures find what made scores too sure, beside sklearn's Brier score and bins counted by hand."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import brier_score_loss, roc_auc_score

from ray_userrep.transfer.calibration import brier, calibration_figures, fit_temperatures, reliability, tempered


def drawn(num_classes, too_sure, num_users=20_000):
    """Classes drawn by their probabilities, and what a head says that is so much too sure."""
    rng = np.random.default_rng(0)
    logits_UC = rng.normal(size=(num_users, num_classes))
    share_UC = softmax(logits_UC, axis=1).cumsum(1)
    truth_U = (share_UC < rng.uniform(size=(num_users, 1))).sum(1).astype(float)
    return truth_U, softmax(too_sure * logits_UC, axis=1)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("too_sure", [0.5, 3.0])
def test_one_temperature_of_classes_undoes_what_made_them_too_sure(num_classes, too_sure):
    truth_U, scores_UC = drawn(num_classes, too_sure)
    temperatures = fit_temperatures("classes", truth_U, scores_UC)
    assert temperatures == pytest.approx([too_sure], rel=0.06)
    mended_UC = tempered("classes", scores_UC, temperatures)
    assert (mended_UC.argmax(1) == scores_UC.argmax(1)).all() and mended_UC.sum(1) == pytest.approx(1)
    assert brier("classes", truth_U, mended_UC) < brier("classes", truth_U, scores_UC)


def test_each_label_has_a_temperature_of_its_own():
    rng = np.random.default_rng(1)
    logits_UC, too_sure = rng.normal(size=(20_000, 3)), np.array([0.5, 1.0, 4.0])
    truth_UC = (rng.uniform(size=logits_UC.shape) < expit(logits_UC)).astype(float)
    scores_UC = expit(too_sure * logits_UC)
    temperatures = fit_temperatures("several", truth_UC, scores_UC)
    assert temperatures == pytest.approx(too_sure, rel=0.08)
    mended_UC = tempered("several", scores_UC, temperatures)
    for truth_U, before_U, after_U in zip(truth_UC.T, scores_UC.T, mended_UC.T, strict=True):
        assert roc_auc_score(truth_U, before_U) == pytest.approx(roc_auc_score(truth_U, after_U), abs=1e-6)


def test_values_have_no_temperature():
    values_U = np.array([1.0, -2.0])
    assert not len(fit_temperatures("value", values_U, values_U))
    assert tempered("value", values_U, np.zeros(0)) is values_U


def test_figures_are_those_of_sklearn_and_of_counting():
    truth_U, scores_UC = drawn(2, 2.0, 500)
    figures = calibration_figures("classes", truth_U, scores_UC, scores_UC)
    assert figures["brier"]["after"] == pytest.approx(brier_score_loss(truth_U, scores_UC[:, 1]))
    bins = reliability("classes", truth_U, scores_UC)
    assert sum(one["count"] for one in bins) == 500
    for one in bins:
        low = np.floor(one["told"] * 10) / 10
        is_in_U = (scores_UC[:, 1] >= low) & (scores_UC[:, 1] < low + 0.1)
        assert one["true"] == pytest.approx(truth_U[is_in_U].mean()) and one["count"] == is_in_U.sum()
        assert one["told"] == pytest.approx(scores_UC[is_in_U, 1].mean())


def test_scores_at_the_ends_and_labels_that_nobody_has_stay_finite():
    scores_UC, truth_UC = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1], [0, 0], [0, 1]])
    temperatures = fit_temperatures("several", truth_UC, scores_UC)
    assert np.isfinite(temperatures).all() and np.isfinite(tempered("several", scores_UC, temperatures)).all()
