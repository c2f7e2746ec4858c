"""The linear probe: scikit-learn's models, the penalty that other users prefer, planted signals and none."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score, roc_auc_score

from ray_userrep.evaluation.probe import Parts, linear_map, linear_probe, ridge_maps

NUM_USERS, WIDTH = 600, 8
PARTS = np.split(np.arange(NUM_USERS), [300, 450])


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(NUM_USERS, WIDTH))


def test_a_planted_class_is_found_and_a_coin_is_not(features):
    noise = np.random.default_rng(1).normal(size=NUM_USERS)
    planted = (features[:, 0] * 2 + noise > 0).astype(float)
    coin = (noise > 0).astype(float)
    for standardise in (False, True):
        found = [linear_probe(features, y, *PARTS, 2, standardise)[:, 1] for y in (planted, coin)]
        assert roc_auc_score(planted[450:], found[0]) > 0.9 and abs(roc_auc_score(coin[450:], found[1]) - 0.5) < 0.12


def test_the_penalty_is_the_one_that_other_users_prefer(features):
    y = (features[:, 0] + np.random.default_rng(1).normal(size=NUM_USERS) > 0).astype(float)
    fit, tune, test = PARTS
    models = [LogisticRegression(C=c, max_iter=300).fit(features[fit], y[fit]) for c in (0.3, 1.0, 3.0, 10.0, 30.0)]
    best = min(models, key=lambda model: log_loss(y[tune], model.predict_proba(features[tune])))
    found = linear_probe(features, y, fit, tune, test, 2, standardise=False)
    np.testing.assert_allclose(found, best.predict_proba(features[test]), atol=1e-6)


def test_values_are_those_of_ridge_and_sparse_tables_give_the_same(features):
    y = features @ np.arange(WIDTH) + 100
    dense = linear_probe(features, y, *PARTS, 0, standardise=False)
    np.testing.assert_allclose(linear_probe(csr_matrix(features), y, *PARTS, 0, False), dense, rtol=1e-4)
    np.testing.assert_allclose(dense, Ridge(alpha=0.03).fit(features[:300], y[:300]).predict(features[450:]), rtol=1e-6)


def test_scales_do_not_matter_where_they_are_standardised(features):
    y = (features[:, 0] > 0).astype(float)
    scaled = features * 10.0 ** np.arange(WIDTH)
    expected = linear_probe(features, y, *PARTS, 2, standardise=True)
    np.testing.assert_allclose(linear_probe(scaled, y, *PARTS, 2, standardise=True), expected, atol=1e-6)


def test_a_class_that_training_lacks_has_no_probability(features):
    y = np.zeros(NUM_USERS)
    y[:150], y[500:] = 1, 2
    found = linear_probe(features, y, *PARTS, 3, standardise=True)
    assert found.shape == (150, 3) and not found[:, 2].any() and np.allclose(found.sum(1), 1)


def test_ridge_in_closed_form_is_scikit_learn_s(features):
    y = features @ np.random.default_rng(1).normal(size=(WIDTH, 3)) + np.random.default_rng(2).normal(
        size=(NUM_USERS, 3)
    )
    for penalty, found in zip((0.1, 1000.0), ridge_maps(features, y, (0.1, 1000.0)), strict=True):
        np.testing.assert_allclose(found.T, Ridge(alpha=penalty, fit_intercept=False).fit(features, y).coef_, rtol=1e-6)


def test_many_values_are_mapped_with_the_penalty_that_other_users_prefer(features):
    y = features[:, :2] + 0.5 * np.random.default_rng(2).normal(size=(NUM_USERS, 2)) + 100
    parts = Parts(*PARTS)
    centred = features - features[:300].mean(0)
    scaled = centred / np.sqrt((centred[:300] ** 2).sum(1).mean())
    models = [Ridge(alpha=10.0**power).fit(scaled[:300], y[:300]) for power in range(-5, 5)]
    best = max(models, key=lambda model: r2_score(y[300:450], model.predict(scaled[300:450])))
    np.testing.assert_allclose(linear_map(features, y, parts), best.predict(scaled[450:]), rtol=1e-6)
    assert (linear_map(np.ones((NUM_USERS, 1)), y, parts) == y[:300].mean(0)).all()
