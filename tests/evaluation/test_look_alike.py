"""Look-alike retrieval against the plain loop, and of vectors that show a class or do not."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from ray_userrep.evaluation.look_alike import DEPTH, look_alike_metrics

NUM_POOL, NUM_CANDIDATES = 120, 300
RNG = np.random.default_rng(0)
CLASSES = RNG.choice([0.0, 1.0, 2.0], NUM_POOL + NUM_CANDIDATES, p=[0.6, 0.3, 0.1])
SHOWN = np.eye(3)[CLASSES.astype(int)] * 3 + RNG.normal(size=(len(CLASSES), 3))
NOISE = RNG.normal(size=(len(CLASSES), 8))


def test_with_all_seeds_drawn_it_is_the_plain_loop():
    few = np.concatenate([np.flatnonzero(CLASSES[:NUM_POOL] == c)[:10] for c in range(3)])  # ten of each class
    rows = np.concatenate([few, np.arange(NUM_POOL, len(CLASSES))])
    x, classes = SHOWN[rows], CLASSES[rows]
    (found,) = look_alike_metrics({"ours": x}, classes, len(few), 0.95).values()
    expected = []
    for c in range(3):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        seeds = unit[: len(few)][classes[: len(few)] == c].mean(0, keepdims=True)
        scores = cosine_similarity(x[len(few) :], seeds)[:, 0]
        alike = classes[len(few) :] == c
        nearest = np.argsort(-scores)[:DEPTH]
        expected.append(
            (average_precision_score(alike, scores), alike[nearest].mean(), alike[nearest].sum() / alike.sum())
        )
    for place, interval in enumerate(found.values()):
        assert interval.mean == pytest.approx(np.mean(expected, axis=0)[place])
        assert interval.low == pytest.approx(interval.high)


def test_vectors_that_show_the_class_beat_noise_and_noise_finds_the_base_rate():
    found = look_alike_metrics({"shown": SHOWN, "noise": NOISE, "scaled": SHOWN * 7}, CLASSES, NUM_POOL, 0.9)
    base = np.mean([(CLASSES[NUM_POOL:] == c).mean() for c in range(3)])
    shown, noise = (found[name]["average precision"] for name in ("shown", "noise"))
    assert shown.low > 0.8 and abs(noise.mean - base) < 0.05 and shown.low < shown.mean < shown.high
    assert found["scaled"] == found["shown"]


def test_classes_that_are_not_on_both_sides_are_left_out():
    classes = CLASSES.copy()
    classes[NUM_POOL:] = 1.0
    assert look_alike_metrics({"shown": SHOWN}, classes, NUM_POOL, 0.9) == {}
