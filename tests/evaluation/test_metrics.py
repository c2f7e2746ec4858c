"""Metrics of labels against an independent library, weighted by resamples, and resamples drawn evenly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from ray_userrep.evaluation import metrics
from ray_userrep.evaluation.metrics import accuracy, auc, mae, mean_of, r2, resamples, rmse


def drawn(num_users, num):
    parts = list(resamples(np.random.default_rng(0), num_users, num))
    assert [row for rows, _ in parts for row in range(rows.start, rows.stop)] == list(range(num))
    return np.concatenate([weights for _, weights in parts])


def test_each_resample_has_as_many_users(monkeypatch):
    whole = drawn(30, 2000)
    assert (whole.sum(1) == 30).all() and whole.mean(0) == pytest.approx(np.ones(30), abs=0.1)
    assert whole.var() == pytest.approx(1 - 1 / 30, abs=0.05)  # that of a binomial
    monkeypatch.setattr(metrics, "_CHUNK", 100)
    assert (drawn(30, 2000) == whole).all()


def test_a_mean_is_the_mean():
    right = mean_of(lambda truth, predicted: truth == predicted)
    truth, predicted = np.array([1, 2, 3, 4]), np.array([1, 2, 0, 0])
    assert right(truth, predicted) == 0.5
    assert right.weighted(truth, predicted, np.array([[1.0, 0, 0, 0], [1, 1, 0, 2]])) == pytest.approx([1.0, 0.5])


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_auc_is_scikit_learn_s(seed, num_classes):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 40)])
    scores = rng.dirichlet(np.ones(num_classes), len(truth)).round(2)
    scores /= scores.sum(1, keepdims=True)
    expected = np.mean([roc_auc_score(truth == c, scores[:, c]) for c in range(num_classes)])
    assert auc(truth.astype(float), scores) == pytest.approx(expected)


def test_r2_is_scikit_learn_s():
    truth, predicted = np.random.default_rng(0).normal(size=(2, 50))
    assert r2(truth, predicted) == pytest.approx(r2_score(truth, predicted))


@pytest.mark.parametrize(("ours", "theirs"), [(mae, mean_absolute_error), (rmse, root_mean_squared_error)])
def test_errors_are_scikit_learn_s_and_better_when_smaller(ours, theirs):
    truth, predicted = np.random.default_rng(0).normal(size=(2, 50))
    weights = np.random.default_rng(1).integers(0, 3, (2, 50)).astype(float)
    assert ours(truth, predicted) == pytest.approx(theirs(truth, predicted)) and ours.sign == -1
    expected = [theirs(truth, predicted, sample_weight=row) for row in weights]
    assert ours.weighted(truth, predicted, weights) == pytest.approx(expected)


def test_accuracy_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    assert accuracy(truth.astype(float), scores) == pytest.approx(accuracy_score(truth, scores.argmax(1)))


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(3, 30))
def test_a_weight_counts_a_user_so_often(seed, num_classes, num_users):
    """Each of many weightings is the figure over users repeated; classes may not occur, scores may be equal."""
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, num_classes, num_users), rng.dirichlet(np.ones(num_classes), num_users).round(1)
    values, guesses = rng.normal(size=(2, num_users))
    times = rng.integers(0, 3, (4, num_users))
    times[:, :2] += 1
    for metric, right, said in ((auc, truth, scores), (accuracy, truth, scores), (r2, values, guesses)):
        repeated = [metric(right.repeat(row), said.repeat(row, axis=0)) for row in times]
        # Where all that is left of a draw are nearly equal values, a share of their variance loses digits.
        assert metric.weighted(right, said, times.astype(float)) == pytest.approx(repeated, rel=1e-4)


def test_of_many_values_the_explained_share_weighs_them_by_their_variance():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 3)) * [1, 5, 0.1] + 7
    predicted = truth + rng.normal(size=(40, 3))
    weights = drawn(40, 5)
    expected = [r2_score(truth, predicted, sample_weight=w, multioutput="variance_weighted") for w in weights]
    np.testing.assert_allclose(r2.weighted(truth, predicted, weights), expected)
