"""Pretraining on a corpus with relations and attributes: what is read of it, what is refused, what is learned."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import recipes, storage
from ray_userrep.corpus.deal import deal
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.objectives.social import Society
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.fit import refuse_lacking
from ray_userrep.training.society import read_society
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import small_recipe, write_hashed_corpus

NUM_USERS, MAX_LEN = 300, 8
HASHES_U = hash_ids(pa.array(np.arange(NUM_USERS)))
FRIENDS = [(user, user + step) for user in range(0, NUM_USERS, 2) for step in (1, 3) if user + step < NUM_USERS]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """A corpus with friends and two attributes, whose hashes are those of its ids."""
    corpus = write_hashed_corpus(str(tmp_path_factory.mktemp("society") / "corpus"), NUM_USERS)
    users = {"user_id": np.arange(NUM_USERS), "half": ["ab"[user % 2] for user in range(NUM_USERS)]}
    users["age"] = [20.0 + user % 37 for user in range(NUM_USERS)]
    ones, others = zip(*FRIENDS, strict=True)
    tables = {"users": pa.table(users), "relations": pa.table({"user_id": ones, "other_id": others})}
    for name, table in tables.items():
        storage.write_parquet(storage.join(corpus.uri, f"data/test/{name}.parquet"), table)
    places = {name: f"data/test/{name}.parquet" for name in tables}
    told = corpus.manifest.model_copy(update=places | {"num_relations": len(FRIENDS)})
    storage.write_text(manifest_uri(corpus.uri, 1), told.model_dump_json())
    return open_corpus(corpus.uri)


def small(**social) -> Recipe:
    """UPRec in a size that trains in a second."""
    parts = recipes.recipe("uprec").objective.model_dump()["parts"]
    parts[-1]["objective"] |= social
    return small_recipe(**{
        "stream.max_len": MAX_LEN, "stream.batch_tokens": 256, "stream.micro_tokens": 64,
        "encoder.backbone.causal": False, "encoder.readout": "max",
        "objective": {"kind": "weighted", "parts": parts}, "train.max_steps": 8,
    })  # fmt: skip


def society_of(corpus: Corpus, **social) -> Society:
    recipe = small(**social)
    return read_society(recipe.objective.parts[-1].objective, recipe, corpus, resolve(recipe.split, corpus))


def test_windows_of_friends_are_the_newest_that_are_trained_on(corpus):
    society, split = society_of(corpus), resolve(small().split, corpus)
    companions = society.companions()
    row = {int(value): place for place, value in enumerate(society.relations.users_U)}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for place, (user, end) in enumerate(zip(bucket.user_hash_U, split.training(bucket)[1], strict=True)):
            first = bucket.offsets_U1[place]
            expected = bucket.items_N[first : first + end][-MAX_LEN:].tolist()
            there = companions.newest_U.offsets_U1[row[int(user)] : row[int(user)] + 2]
            assert companions.newest_U.columns_N["items"][slice(*there)].tolist() == expected


def test_profiles_are_those_of_users_whom_no_transfer_asks_about(corpus):
    profiles, task = society_of(corpus).profiles, small().transfer.task
    parts = deal(HASHES_U, task.valid_share, task.test_share, task.seed)
    codes_UA = profiles.of(HASHES_U)
    assert not codes_UA[np.concatenate([parts.valid, parts.test])].any()
    half_U, tenth_U = codes_UA[parts.train].T
    assert np.array_equal(half_U, 1 + parts.train % 2)
    ages_U, counts = parts.train % 37, np.bincount(tenth_U)[1:]
    assert np.all(tenth_U[ages_U < 3] == 1) and np.all(tenth_U[ages_U > 34] == 10) and counts.min() > 10


@pytest.mark.parametrize(
    ("lost", "field", "value", "message"),
    [
        ("relations", "kinds", (), "objective.kind social: .* has no relations of users: put relations.csv"),
        (None, "kinds", ("friend",), "objective.kinds: the relations of .* have no column kind"),
        (None, "profile", ("gender",), "objective.profile: no 'gender' among the users' columns half, age"),
        ("users", "kinds", (), "objective.kind labels: .* has no table of users: put users.csv"),
    ],
)
def test_what_the_log_lacks_is_refused_by_name(corpus, lost, field, value, message):
    recipe = small(**{field: value})
    poorer = Corpus(corpus.uri, corpus.manifest.model_copy(update={lost: None} if lost else {}))
    with pytest.raises(UserError, match=message):
        refuse_lacking(recipe, poorer, resolve(recipe.split, poorer))


def test_all_losses_are_learned_and_two_workers_learn_what_one_does(corpus, tmp_path):
    recipe = small()
    refuse_lacking(recipe, corpus, resolve(recipe.split, corpus))
    fit_bare(recipe, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, recipe, corpus, tmp_path / "two") == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == 8 and np.mean(expected[-3:]) < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-5)
