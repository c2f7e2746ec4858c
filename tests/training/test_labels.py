"""Which labels pretraining reads: never those of users whom the split or a later transfer holds back."""

import uuid

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.deal import deal
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import ColdUserConfig, LeaveOneOutConfig
from ray_userrep.recipe.transfer import AttributeTaskConfig
from ray_userrep.training.fit import build_model, refuse_lacking
from ray_userrep.training.labels import read_labels
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import write_hashed_corpus

NUM_USERS = 400
HASHES_U = hash_ids(pa.array(np.arange(NUM_USERS)))
HALVES = [None if user % 9 == 0 else "ab"[user % 2] for user in range(NUM_USERS)]
TASK = AttributeTaskConfig(seed=3)
OBJECTIVE = {
    "kind": "weighted",
    "parts": [
        {"weight": 1.0, "objective": {"kind": "autoregressive"}},
        {"weight": 0.5, "objective": {"kind": "labels", "attributes": ["half", "age"]}},
        {"weight": 0.5, "objective": {"kind": "next_fields", "fields": ["gap", "hour"]}},
    ],
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Corpus:
    """A corpus with labels of most users, whose hashes are those of their ids."""
    corpus = with_users(write_hashed_corpus(str(tmp_path_factory.mktemp("labels") / "corpus"), NUM_USERS), HALVES)
    storage.write_text(manifest_uri(corpus.uri, 1), corpus.manifest.model_dump_json())
    return open_corpus(corpus.uri)


def with_users(corpus: Corpus, halves: list[str | None]) -> Corpus:
    path, ages = f"data/test/users-{uuid.uuid4().hex}.parquet", [20.0 + user % 37 for user in range(NUM_USERS)]
    users = pa.table({"user_id": np.arange(NUM_USERS), "half": halves, "age": ages})
    storage.write_parquet(storage.join(corpus.uri, path), users)
    return Corpus(corpus.uri, corpus.manifest.model_copy(update={"users": path}))


def may_be_read(corpus, split) -> set[int]:
    """Users who are trained on and for whom a transfer's deal has no other use."""
    parts = deal(HASHES_U, TASK.valid_share, TASK.test_share, TASK.seed)
    trained = set()
    for number in corpus.buckets():
        bucket, lengths_U = split.training(corpus.bucket(number))
        trained |= {*bucket.user_hash_U[lengths_U > 0].tolist()}
    return trained & {*HASHES_U[parts.train].tolist()}


@pytest.mark.parametrize("rule", [LeaveOneOutConfig(), ColdUserConfig(test_share=0.3)])
def test_labels_of_users_who_are_held_back_are_never_read(labelled, rule):
    """Whatever is written in their place, nothing changes of what is learned from."""
    split = resolve(rule, labelled)
    allowed = may_be_read(labelled, split)
    poisoned = [
        half if user in allowed else f"poison {place % 9}"
        for place, (half, user) in enumerate(zip(HALVES, HASHES_U.tolist(), strict=True))
    ]
    known = read_labels(labelled, split, TASK, ["half"])["half"]
    again = read_labels(with_users(labelled, poisoned), split, TASK, ["half"])["half"]
    assert {*known.users_U.tolist()} <= allowed and len(known.users_U) > 100 and known.num_classes == 2
    for before, after in zip(known, again, strict=True):
        np.testing.assert_array_equal(before, after)
    true = dict(zip(HASHES_U.tolist(), HALVES, strict=True))
    told = {(int(label), true[user]) for label, user in zip(known.labels_U, known.users_U.tolist(), strict=True)}
    assert told in ({(0, "a"), (1, "b")}, {(0, "b"), (1, "a")})


def test_what_a_log_lacks_is_refused_by_name(labelled, recipe):
    split = resolve(LeaveOneOutConfig(), labelled)
    with pytest.raises(UserError, match=r"objective\.attributes: no 'gender' among the users' columns half, age"):
        read_labels(labelled, split, TASK, ["gender"])
    with pytest.raises(UserError, match=r"objective\.attributes half: its labels are of one class"):
        read_labels(with_users(labelled, ["a"] * NUM_USERS), split, TASK, ["half"])
    lacking = recipe(**{"objective": {"kind": "next_fields", "fields": ["gap", "price"]}})
    with pytest.raises(UserError, match=r"objective\.fields price"):
        refuse_lacking(lacking, labelled, split)
    with pytest.raises(UserError, match=r"encoder\.context event"):
        refuse_lacking(recipe(**{"encoder.context": ("event",)}), labelled, split)
    refuse_lacking(recipe(objective=OBJECTIVE), labelled, split)


def test_losses_are_the_same_on_one_worker_and_on_two(labelled, recipe, tmp_path):
    changes = {"objective": OBJECTIVE, "encoder.readout": "attention", "encoder.context": ("hour",)}
    chosen = recipe(**{**changes, "train.max_steps": 8, "stream.micro_tokens": 48})
    model = build_model(chosen, labelled, resolve(chosen.split, labelled))
    assert model.objective.parts == ("next_item", "label_half", "label_age", "next_gap", "next_hour")
    fit_bare(chosen, labelled, tmp_path / "bare")
    fit_bare(recipe(**{**changes, "train.max_steps": 8}), labelled, tmp_path / "whole")
    assert fit_on_ranks(2, chosen, labelled, tmp_path / "two") == []
    assert len(losses(tmp_path / "bare")) == 8
    for other in ("whole", "two"):
        np.testing.assert_allclose(losses(tmp_path / other), losses(tmp_path / "bare"), rtol=1e-4)
