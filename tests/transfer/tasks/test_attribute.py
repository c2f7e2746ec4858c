"""An attribute as a task: who is trained on, on what, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import resolve
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_known
from ray_userrep.feed.batch import Batch
from ray_userrep.feed.cutting import BucketWindows, gather
from ray_userrep.feed.plan import Position, rank_slice
from ray_userrep.feed.stream import make_plan
from ray_userrep.objectives.base import Draws
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig
from ray_userrep.recipe.transfer import AttributeTaskConfig, TransferConfig
from ray_userrep.transfer.labels import IS_KNOWN, LABEL
from ray_userrep.transfer.tasks.attribute import read_attribute_tasks
from ray_userrep.transfer.tasks.base import HeadShape

NUM_USERS = 260


def tasks(corpus, *attributes, columns=(), **fields):
    split = resolve(LeaveOneOutConfig(), corpus)
    config = TransferConfig(task=AttributeTaskConfig(attributes=attributes, **fields), columns=columns)
    return read_attribute_tasks(corpus, split, read_known(corpus, split), config)


def trained_windows(corpus, task, share):
    """Every window of an epoch as (user, items), read the way training reads it."""
    cut = task.cut(share)
    config = StreamConfig(max_len=8, batch_tokens=128, windows=task.windows)
    source = BucketWindows(corpus, cut, (), 8)
    for step in make_plan(corpus, cut, config, 0, 0).batches(Position()):
        for batch in gather(source, rank_slice(step, 0, 1, 10**6)):
            for user, low, high in zip(batch.users_B, batch.offsets_B1, batch.offsets_B1[1:], strict=False):
                yield int(user), batch.values_T[low:high].tolist()


def test_training_sees_only_its_users_and_only_what_is_known(corpus):
    (task,) = tasks(corpus, "half")
    known = {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for row, user in enumerate(bucket.user_hash_U):
            items = bucket.items_N[bucket.offsets_U1[row] : bucket.offsets_U1[row + 1]]
            known[int(user)] = items[:-1][-8:].tolist()  # without the held-out item, the newest window
    whole, few = (list(trained_windows(corpus, task, share)) for share in (1.0, 0.2))
    assert all(items == known[user] for user, items in whole)
    users, fewer = [user for user, _ in whole], {user for user, _ in few}
    assert len(users) == len(set(users)) == task.num_users("train")
    assert fewer < set(users) and len(fewer) == task.num_users("train", 0.2)
    tested, _ = task.known_until()
    assert not set(users) & set(tested.tolist())
    assert len(users) + task.num_users("valid") + task.num_users("test") == NUM_USERS


def test_truth_and_labels_are_the_users_own(corpus, make_encoder):
    (task,) = tasks(corpus, "age")
    ages = dict(zip(hash_ids(pa.array(np.arange(NUM_USERS))), corpus.users()["age"].to_pylist(), strict=True))
    tested, _ = task.known_until()
    assert task.truth("test").tolist() == [ages[user] for user in tested]
    objective = task.objective(make_encoder(), 1.0, HeadShape())
    users = np.array([*ages])
    (view,) = objective.views(Batch.of([[0]] * NUM_USERS, users), Draws(0, 0, 0))
    is_known = view.labels[IS_KNOWN].numpy()
    own = np.array([ages[user] for user in users[is_known]])
    assert is_known.sum() == task.num_users("train") and not is_known[np.isin(users, tested)].any()
    np.testing.assert_array_equal(view.labels[LABEL][is_known], own)
    assert list(task.measures) == ["r2", "mae", "rmse"]


READ_THE_ITEMS = ("tf-idf", "SVD-128"), ("item counts", "tempo and SVD-64")


def test_baselines_are_the_majority_and_what_reads_the_items_or_only_when_they_came(corpus):
    half, age = tasks(corpus)
    found, truth = half.baselines(1.0), half.truth("test")
    linear, grown = READ_THE_ITEMS
    told = [f"logistic regression on {name}" for name in linear] + [f"boosted trees on {name}" for name in grown]
    assert list(found) == ["majority", *told[:3], "boosted trees on tempo", told[3]]
    assert np.allclose(found["majority"].sum(1), 1) and len(np.unique(found["majority"], axis=0)) == 1
    assert all(roc_auc_score(truth, found[name][:, 1]) > 0.95 for name in told)
    assert 0.3 < roc_auc_score(truth, found["boosted trees on tempo"][:, 1]) < 0.7
    values, years = age.baselines(1.0), age.truth("test")
    assert age.measures["r2"](years, values["mean"]) < 0.05
    for name in ("ridge regression on tf-idf", "ridge regression on SVD-128", "boosted trees on item counts"):
        assert age.measures["r2"](years, values[name]) > 0.8
    assert age.name == "age" and half.name == "half"


def test_look_alikes_are_found_where_the_vectors_show_the_class(corpus, make_encoder):
    half, age = tasks(corpus)
    encoder = make_encoder(kind="mean", num_layers=0)
    with torch.no_grad():  # vectors that tell the halves of the catalogue apart
        encoder.items.weight[: len(encoder.items.weight) // 2, :8] += 1
        encoder.items.weight[len(encoder.items.weight) // 2 :, 8:] += 1
    found = half.look_alikes({"ours": encoder}, 0.95)
    precision = {name: row["average precision"].mean for name, row in found.items()}
    assert precision["ours"] > 0.95 and precision["SVD-128"] > 0.9 and 0.4 < precision["random"] < 0.65
    assert age.look_alikes({"ours": encoder}, 0.95) == {}


@pytest.mark.parametrize(
    ("columns", "attributes", "fields", "message"),
    [
        ({}, (), {}, r"has no attributes of users"),
        ({"half": ["a"] * NUM_USERS}, ("half",), {}, r"half: its labels are of one class"),
        ({"half": ["a"] * NUM_USERS}, (), {}, r"none of half of .* has two classes"),
        ({"half": ["a", "b"] * 130}, ("heights",), {}, r"no 'heights' among the users' columns half"),
        ({"half": ["a", "b"] * 40 + [None] * 180}, ("half",), {}, r"half: 80 labels of 2 classes are too few"),
        ({"half": ["a", "b"] * 130}, ("half",), {"min_examples": 99}, r"users in valid, fewer than .*min_examples 99"),
        ({"half": [["a"]] * NUM_USERS}, ("half",), {}, r"half: its values are lists or records"),
    ],
)
def test_labels_that_cannot_be_asked_about_are_refused(write_corpus, tmp_path, columns, attributes, fields, message):
    corpus = write_corpus(str(tmp_path / "corpus"), **columns)
    with pytest.raises(UserError, match=message) as caught:
        tasks(corpus, *attributes, **fields)
    assert "\n" not in str(caught.value)


def test_a_share_of_too_few_users_or_of_one_class_is_refused(write_corpus, corpus, tmp_path):
    (task,) = tasks(corpus, "half")
    with pytest.raises(UserError, match=r"half: 2 users to train on at label share 0\.01, fewer than"):
        task.cut(0.01)
    rare = write_corpus(str(tmp_path / "rare"), rare=["a" if user % 20 else "b" for user in range(NUM_USERS)])
    (task,) = tasks(rare, "rare", min_examples=1)
    with pytest.raises(UserError, match=r"the 2 users to train on at label share 0\.01 all have the same label"):
        task.cut(0.01)
