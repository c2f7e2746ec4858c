"""Reading attributes out of vectors: planted signals are found, noise is not, and figures are scikit-learn's."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.evaluation.profile import beside, measure_attribute, read_attributes

NUM_USERS = 800
HASHES = hash_ids(pa.array(np.arange(NUM_USERS)))


def users(**columns) -> pa.Table:
    return pa.table({"user_id": np.arange(NUM_USERS)} | columns)


def told(signal, **columns):
    """The measured attributes when vectors hold the signal among noise."""
    rng = np.random.default_rng(0)
    vectors = np.column_stack([signal, rng.normal(size=(NUM_USERS, 5))])
    features = {"encoder": vectors, "SVD-4": rng.normal(size=(NUM_USERS, 4))}
    return {a.name: measure_attribute(a, features, 0.95) for a in read_attributes(users(**columns), HASHES)}


def test_a_planted_class_is_read_and_a_random_one_is_not():
    rng = np.random.default_rng(1)
    country = rng.integers(0, 3, NUM_USERS)
    coin = rng.integers(0, 2, NUM_USERS)
    found = told(np.eye(3)[country] * 3 + rng.normal(size=(NUM_USERS, 3)), country=country.astype(str), coin=coin)
    country_metrics = found["country"]["metrics"]
    assert country_metrics["encoder"]["auc"]["low"] > 0.9 and found["country"]["over_best_simple"]["low"] > 0.3
    assert country_metrics["encoder"]["accuracy"]["low"] > country_metrics["majority"]["accuracy"]["mean"]
    coin_auc = found["coin"]["metrics"]["encoder"]["auc"]
    assert coin_auc["low"] < 0.5 < coin_auc["high"]
    assert found["coin"]["users"]["train"] + found["coin"]["users"]["test"] == NUM_USERS


def test_what_a_vector_adds_to_counts_is_seen_together():
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 2, (2, NUM_USERS))
    vectors, counts = (np.eye(2)[x] + rng.normal(size=(NUM_USERS, 2)) * 0.3 for x in (a, b))
    features = {"encoder": vectors, "tf-idf": csr_matrix(counts)}
    features["encoder and tf-idf"] = beside(vectors, features["tf-idf"])
    attribute = read_attributes(users(both=(a + b).astype(str)), HASHES)[0]
    found = measure_attribute(attribute, features, 0.95)
    together, alone = (found[name] for name in ("both_over_best_simple", "over_best_simple"))
    assert together["low"] > 0.05 and together["baseline"] == alone["baseline"] == "tf-idf"
    assert abs(alone["mean"]) < 0.1
    rows = features["encoder and tf-idf"].toarray()[:, :2]
    np.testing.assert_allclose((rows**2).sum(1).mean(), 1)


def test_a_planted_quantity_is_read():
    age = np.random.default_rng(2).normal(40, 10, NUM_USERS)
    found = told(age + np.random.default_rng(3).normal(size=NUM_USERS), age=age)["age"]
    assert found["headline"] == "r2" and found["metrics"]["encoder"]["r2"]["low"] > 0.9
    assert found["metrics"]["SVD-4"]["r2"]["high"] < 0.1


def test_attributes_that_say_nothing_are_left_out():
    rare = ["x"] * (NUM_USERS - 3) + ["y"] * 3
    zips = [f"{i:05d}" for i in range(NUM_USERS)]
    sparse = [i % 2 if i < 60 else None for i in range(NUM_USERS)]
    table = users(constant=["a"] * NUM_USERS, rare=rare, zip=zips, sparse=sparse, good=np.arange(NUM_USERS) % 2)
    assert [a.name for a in read_attributes(table, HASHES)] == ["good"]


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_a_missing_one(missing):
    age = np.random.default_rng(2).normal(40, 10, NUM_USERS)
    holes = np.where(np.arange(NUM_USERS) % 5 == 0, missing, age)
    nulls = [None if user % 5 == 0 else value for user, value in enumerate(age)]
    assert told(age, age=holes) == told(age, age=nulls)
    flag = np.where(np.arange(NUM_USERS) % 5 == 0, missing, np.arange(NUM_USERS) % 2)
    assert read_attributes(users(flag=flag), HASHES)[0].classes == ["1.0", "0.0"]  # in order of appearance


def test_an_attribute_that_is_a_list_or_a_record_is_left_out():
    table = users(tags=[["a", "b"]] * NUM_USERS, place=[{"city": "x"}] * NUM_USERS, good=np.arange(NUM_USERS) % 2)
    assert [a.name for a in read_attributes(table, HASHES)] == ["good"]


def test_users_are_split_by_their_hash_whoever_else_is_there():
    whole = read_attributes(users(good=np.arange(NUM_USERS) % 2), HASHES)[0]
    some = read_attributes(users(good=np.arange(NUM_USERS) % 2), HASHES[200:])[0]
    tests = dict(zip(HASHES[whole.rows_U], whole.is_test_U, strict=True))
    assert all(tests[h] == t for h, t in zip(HASHES[200:][some.rows_U], some.is_test_U, strict=True))
    assert whole.is_test_U.mean() == pytest.approx(0.2, abs=0.05)
    values = dict(zip(HASHES[whole.rows_U], whole.values_U, strict=True))
    assert all(values[h] == i % 2 for i, h in enumerate(HASHES))
