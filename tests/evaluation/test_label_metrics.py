"""Figures over users' labels are scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

from ray_userrep.evaluation.label_metrics import accuracy, auc, r2


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
    for measure, right, said in ((auc, truth, scores), (accuracy, truth, scores), (r2, values, guesses)):
        repeated = [measure(right.repeat(row), said.repeat(row, axis=0)) for row in times]
        assert measure.weighted(right, said, times.astype(float)) == pytest.approx(repeated)
