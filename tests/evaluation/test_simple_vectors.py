"""What needs no training, against slow versions over one user at a time."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.simple_vectors import svd, tempo, tf_idf

NUM_ITEMS, DAY = 7, 86_400 * 10**6
lives = st.lists(
    st.lists(st.tuples(st.integers(0, NUM_ITEMS - 1), st.integers(0, 200)), min_size=1, max_size=12),
    min_size=2,
    max_size=8,
)


def sequences(users) -> Sequences:
    users = [sorted(events, key=lambda event: event[1]) for events in users]
    items, days = (np.array([event[i] for events in users for event in events], np.int64) for i in (0, 1))
    return Sequences(items, days * DAY, np.cumsum([0, *map(len, users)]), np.arange(len(users)))


def slow_tf_idf(users) -> np.ndarray:
    rows = np.zeros((len(users), NUM_ITEMS))
    for row, events in zip(rows, users, strict=True):
        for item, _ in events:
            having = sum(any(item == other for other, _ in one) for one in users)
            count = sum(item == other for other, _ in events)
            row[item] = log(1 + count) * log(1 + len(users) / having)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(deadline=None)
@given(lives)
def test_tf_idf_is_the_formula(users):
    np.testing.assert_allclose(tf_idf(sequences(users), NUM_ITEMS).toarray(), slow_tf_idf(users), atol=1e-9)


def test_singular_vectors_keep_the_products_of_users():
    rng = np.random.default_rng(0)
    users = [[(int(item), 0) for item in rng.integers(0, NUM_ITEMS, 5)] for _ in range(30)]
    counts = tf_idf(sequences(users), NUM_ITEMS)
    left, values, _ = np.linalg.svd(counts.toarray())
    np.testing.assert_allclose(np.abs(svd(counts, 3)), np.abs(left[:, :3] * values[:3]), atol=1e-6)
    assert svd(counts, 500).shape == (30, NUM_ITEMS - 1)


@settings(deadline=None)
@given(lives)
def test_tempo_is_that_of_each_user(users):
    cut = 250
    for row, events in zip(tempo(sequences(users), cut * DAY), users, strict=True):
        days = np.array(sorted(day for _, day in events))
        gaps, ages = np.diff(days), cut - days
        distinct = len({item for item, _ in events})
        recent = [(ages <= window).sum() for window in (7, 30, 90)]
        mean = gaps.mean() if len(gaps) else 0.0
        logs = np.log1p([ages.min(), ages.max(), mean, *recent, len(days), distinct])
        spread = gaps.std() / mean if mean > 0 else 0.0
        np.testing.assert_allclose(row, [*logs, spread, 1 - distinct / len(days)], rtol=1e-4, atol=1e-5)


def test_users_who_are_alike_are_told_from_others():
    alike = [[(1, 0), (2, 1)], [(2, 5), (1, 9)], [(4, 0), (5, 1), (6, 2)]]
    x = tf_idf(sequences(alike), NUM_ITEMS)
    assert (x[0] @ x[1].T).toarray()[0, 0] == pytest.approx(1.0) and (x[0] @ x[2].T).toarray()[0, 0] == 0
