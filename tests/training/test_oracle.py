"""Pretraining a graph network: what its oracle knows, that new users are foreseen, that workers change nothing."""

import shutil

import numpy as np
import pytest

from ray_userrep.corpus.graph import read_graph
from ray_userrep.corpus.splits import NONE, resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import read_histories
from ray_userrep.evaluation.ranking import as_batch
from ray_userrep.training.fit import refuse_lacking
from ray_userrep.training.oracle import read_oracle
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import small_recipe, write_corpus

WARM_ABOVE, WIDTH = 5, 8
SPLIT = {"rule": "cold_user", "valid_share": 0.2, "test_share": 0.2, "max_known": 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return write_corpus(str(tmp_path_factory.mktemp("oracle") / "corpus"), num_users=300)


def small(**changes):
    backbone = {"kind": "gnn", "num_heads": 2, "warm_above": WARM_ABOVE, "dropout": 0.0}
    fields = {f"encoder.backbone.{name}": changes.pop(name) for name in ("layer", "sampler") if name in changes}
    return small_recipe(**{
        "split": SPLIT, "stream.max_len": 3, "stream.batch_tokens": 128, "stream.micro_tokens": 48,
        "encoder.width": WIDTH, "encoder.backbone": backbone, "objective": {"kind": "reconstruct"}, **fields, **changes,
    })  # fmt: skip


class Poisoned(Corpus):
    """A corpus whose test users did what there is no item for: whoever looks it up fails."""

    def bucket(self, number, side=()):
        bucket = super().bucket(number, side)
        is_test_U = resolve(small().split, self).positions(bucket).test_U != NONE
        return bucket._replace(items_N=np.where(np.repeat(is_test_U, bucket.lengths_U), -(10**9), bucket.items_N))


def test_the_oracle_knows_warm_users_and_items_and_nothing_of_users_held_out_for_test(corpus):
    recipe, poisoned = small(), Poisoned(corpus.uri, corpus.manifest)
    split = resolve(recipe.split, corpus)
    graph = read_graph(poisoned, split, WARM_ABOVE)
    oracle = read_oracle(recipe.encoder, poisoned, split, graph)
    again = read_oracle(recipe.encoder, corpus, split, read_graph(corpus, split, WARM_ABOVE))
    for one, other in zip(oracle, again, strict=True):
        np.testing.assert_array_equal(one, other)
    warm_V = [bool(users) for users in graph.users_of.to_pylist()]
    assert np.array_equal(~np.isnan(oracle.items_VD).any(1), warm_V) and np.isfinite(oracle.vectors_UD).all()
    expected = {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        cut = split.positions(bucket)
        for row in np.flatnonzero((cut.test_U == NONE) & (bucket.lengths_U > WARM_ABOVE)):
            items = bucket.items_N[slice(*bucket.offsets_U1[row : row + 2])]
            expected[int(bucket.user_hash_U[row])] = oracle.items_VD[np.unique(items)].astype(float).mean(0)
    assert all(warm_V), "so that every item of a user counts"
    assert oracle.users_U.tolist() == sorted(expected)
    np.testing.assert_allclose(oracle.vectors_UD, [expected[user] for user in sorted(expected)], atol=1e-5)


def test_items_that_go_together_are_alike(corpus):
    """Users walk on in small steps: near items have near vectors, as the factors of who took what say."""
    recipe = small()
    split = resolve(recipe.split, corpus)
    items_VD = read_oracle(recipe.encoder, corpus, split, read_graph(corpus, split, WARM_ABOVE)).items_VD
    unit_VD = items_VD / np.linalg.norm(items_VD, axis=1, keepdims=True)
    near, far = (float((unit_VD * np.roll(unit_VD, step, 0)).sum(1).mean()) for step in (2, 30))
    assert near > far + 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder.backbone": {"kind": "gnn", "warm_above": 50, "num_heads": 2}},
            "warm_above 50: no user of .* has more",
        ),
        ({"encoder.width": 64}, r"encoder.width 64: oracle vectors need more .* there are \d+ and 60: lower it"),
    ],
)
def test_what_the_log_lacks_is_refused_by_name(corpus, changes, message):
    recipe = small(**changes)
    with pytest.raises(UserError, match=message):
        refuse_lacking(recipe, corpus, resolve(recipe.split, corpus))


def cosines(one_UD, other_UD):
    norms_U = np.linalg.norm(one_UD, axis=1) * np.linalg.norm(other_UD, axis=1)
    return (one_UD * other_UD).sum(1) / norms_U


def test_new_users_are_foreseen_better_than_by_the_mean_of_their_items_and_the_graph_stays(corpus, tmp_path):
    recipe = small(**{"train.epochs": 8.0, "stream.micro_tokens": 65536})
    fit_bare(recipe, corpus, tmp_path)
    encoder, split = UserEncoder.from_pretrained(str(tmp_path / "encoder")), resolve(recipe.split, corpus)
    graph = read_graph(corpus, split, WARM_ABOVE)
    (tmp_path / "again").mkdir()
    graph.save(tmp_path / "again")
    for name in ("users.arrow", "items.arrow"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "encoder" / "graph" / name).read_bytes()
    oracle, users = read_oracle(recipe.encoder, corpus, split, graph), read_histories(corpus, split, "valid", None)
    vectors_UD, is_warm_U = oracle.of_users(users.users_U)
    known = users.take(np.flatnonzero(is_warm_U & (users.lengths_U == 3)))
    truth_UD = vectors_UD[is_warm_U & (users.lengths_U == 3)]
    assert known.num_users > 30 and not np.isin(known.users_U, graph.users_U).any()
    foreseen = cosines(encoder(as_batch(known)).detach().numpy(), truth_UD).mean()
    simple = cosines(oracle.items_VD[known.items_N.reshape(-1, 3)].mean(1), truth_UD).mean()
    assert foreseen > simple + 0.05


@pytest.mark.parametrize("stage", [0, 3])
def test_two_workers_learn_what_one_does(corpus, tmp_path, stage):
    recipe = small(sampler="learned", layer="gat", **{"train.max_steps": 8, "train.zero.stage": stage})
    fit_bare(recipe, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, recipe, corpus, tmp_path / "two") == []
    expected = losses(tmp_path / "bare")
    assert len(expected) == 8 and np.mean(expected[-3:]) < expected[0]
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-5)


def test_a_run_that_is_resumed_within_an_epoch_draws_what_it_would_have_drawn(corpus, tmp_path):
    recipe = small(sampler="learned", **{"train.checkpoint_every": 0.5})
    fit_bare(recipe, corpus, tmp_path)
    whole = losses(tmp_path)
    shutil.rmtree(sorted((tmp_path / "checkpoints").iterdir())[-1])
    fit_bare(recipe, corpus, tmp_path)
    assert losses(tmp_path) == whole
