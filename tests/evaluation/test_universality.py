"""What vectors tell without labels: planted logs and vectors of which the answer is known."""

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD

from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.simple_vectors import tf_idf
from ray_userrep.evaluation.universality import ask_future, ask_present, measure_vectors
from ray_userrep.recipe.evaluation import EvaluationConfig

NUM_USERS, NUM_KINDS, PER_KIND = 600, 5, 20
NUM_ITEMS = NUM_KINDS * PER_KIND
CONFIG = EvaluationConfig(num_bootstrap=100)


def log(does_stay: bool, seed: int = 0) -> Sequences:
    """Users who take items of one kind; later of the same, or of one that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    early, late = rng.integers(0, NUM_KINDS, (2, NUM_USERS))
    late = early if does_stay else late
    halves = rng.integers(4, 9, NUM_USERS)
    kinds = np.concatenate([np.repeat([a, b], n) for a, b, n in zip(early, late, halves, strict=True)])
    items = kinds * PER_KIND + rng.integers(0, PER_KIND, len(kinds))
    offsets = np.concatenate([[0], np.cumsum(2 * halves)])
    return Sequences(items, np.arange(len(items)), offsets, rng.permutation(NUM_USERS))


def counts(histories: Sequences) -> np.ndarray:
    return tf_idf(histories, NUM_ITEMS).toarray()


def noise(histories: Sequences) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(histories.num_users, 16))


def first_kind(histories: Sequences) -> np.ndarray:
    return np.eye(NUM_KINDS)[histories.items_N[histories.offsets_U1[:-1]] // PER_KIND]


def r2(found, part, name="encoder"):
    return found[part]["metrics"][name]["r2"]["mean"]


def test_a_vector_that_is_the_counts_holds_all_and_noise_nothing():
    users = log(does_stay=True)
    held, nothing = (measure_vectors(users, read, CONFIG) for read in (counts, noise))
    assert r2(held, "present") == pytest.approx(1, abs=1e-3)
    assert r2(nothing, "present") < 0.01 and r2(nothing, "future") < 0.01
    assert abs(r2(held, "future", "mean")) < 0.02


def test_singular_vectors_explain_their_share_of_the_span():
    users = log(does_stay=True)
    present = ask_present(users)
    rows = tf_idf(users, NUM_ITEMS)
    span = TruncatedSVD(64, random_state=0).fit(rows[present.parts.fit])
    np.testing.assert_allclose(np.abs(present.told_UK), np.abs(span.transform(rows)), atol=1e-6)
    few = measure_vectors(users, lambda histories: present.told_UK[:, :8], CONFIG)
    truth = span.transform(rows[present.parts.test])
    share = truth[:, :8].var(0).sum() / truth.var(0).sum()
    assert r2(few, "present") == pytest.approx(share, abs=0.05) == pytest.approx(r2(few, "present", "SVD-8"), abs=0.05)


def test_the_future_is_told_where_it_depends_on_the_past_only():
    stays, changes = (measure_vectors(log(does_stay), first_kind, CONFIG)["future"] for does_stay in (True, False))
    assert stays["metrics"]["encoder"]["r2"]["low"] > 0.1 and changes["metrics"]["encoder"]["r2"]["high"] < 0.01
    for name in ("encoder", "same again", "SVD-5"):
        assert stays["metrics"][name]["recall@50"]["mean"] > 0.95, "a kind has twenty items"
        assert changes["metrics"][name]["recall@50"]["mean"] == pytest.approx(0.5, abs=0.1)
    over = stays["over_best_simple"]
    best = stays["metrics"][over["baseline"]]["r2"]["mean"]
    assert over["mean"] == pytest.approx(stays["metrics"]["encoder"]["r2"]["mean"] - best)


def test_halves_are_those_of_each_user_and_short_histories_are_counted():
    users = log(does_stay=True).take(np.arange(NUM_USERS))
    lengths = np.where(np.arange(NUM_USERS) % 3 == 0, 1, users.lengths_U)
    kept = np.concatenate([np.arange(first, first + n) for first, n in zip(users.offsets_U1, lengths, strict=False)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    some = Sequences(users.items_N[kept], users.times_N[kept], offsets, users.users_U)
    future = ask_future(some)
    long = np.flatnonzero(lengths >= 4)
    for row, user in enumerate(long):
        whole = some.items_N[offsets[user] : offsets[user + 1]]
        known, asked = (h.items_N[h.offsets_U1[row] : h.offsets_U1[row + 1]] for h in (future.known, future.asked))
        assert np.array_equal(np.concatenate([known, asked]), whole) and 0 <= len(known) - len(asked) <= 1
    found = measure_vectors(some, noise, CONFIG)
    assert found["future"]["users"]["left_out"] == NUM_USERS // 3
    assert sum(found["present"]["users"].values()) == NUM_USERS


def test_rotating_and_scaling_a_vector_changes_nothing():
    users = log(does_stay=True)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(NUM_ITEMS, NUM_ITEMS)))
    plain, turned = (
        measure_vectors(users, read, CONFIG) for read in (counts, lambda users: 1000 * counts(users) @ rotation)
    )
    for part in ("present", "future"):
        assert r2(turned, part) == pytest.approx(r2(plain, part), abs=1e-6)


def test_recall_is_that_of_sorting_each_user_s_scores():
    future = ask_future(log(does_stay=True))
    answer = future.answer(first_kind(future.known)) + np.random.default_rng(0).normal(size=(1, 64)) * 0.01
    for row, user in enumerate(future.parts.test[:40]):
        taken = set(future.asked.items_N[future.asked.offsets_U1[user] : future.asked.offsets_U1[user + 1]])
        first = future.kept_V[np.argsort(-(future.directions_VK @ answer[row]))[:50]]
        assert future.recalled(answer)[row] == pytest.approx(len(taken & set(first)) / len(taken))


def test_users_are_dealt_by_their_hash_and_too_few_are_not_asked():
    users = log(does_stay=True)
    whole, some = ask_present(users), ask_present(users.take(np.arange(200, NUM_USERS)))
    tested = set(users.users_U[whole.parts.test])
    assert set(some.known.users_U[some.parts.test]) == tested & set(some.known.users_U)
    assert measure_vectors(users.take(np.arange(50)), noise, CONFIG) == {}
