"""Masked bundles in whole runs: on one worker and two, at both ends of ZeRO, and cut in the middle of an epoch."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.training.fit import refuse_lacking
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import write_hashed_corpus

NUM_USERS = 120

BUNDLES = {
    "encoder.bundle": "hour",
    "encoder.singles": 2,
    "encoder.context": ("hour",),
    "encoder.profile": ("half", "age"),
    "encoder.readout": "mean",
    "encoder.backbone.causal": False,
    "objective": {"kind": "masked_bundles", "columns": ["item_id"], "fields": ["hour"]},
    "stream.max_len": 16,
    "stream.micro_tokens": 64,
    "train.max_steps": 8,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """A corpus that knows something of its users, whose hashes are those of their ids."""
    corpus = write_hashed_corpus(str(tmp_path_factory.mktemp("profiles") / "corpus"), NUM_USERS)
    halves, ages = ["ab"[user % 2] for user in range(NUM_USERS)], [20 + user % 5 for user in range(NUM_USERS)]
    columns = {"user_id": np.arange(NUM_USERS), "half": halves, "age": ages, "name": np.arange(NUM_USERS)}
    storage.write_parquet(storage.join(corpus.uri, "data/test/users.parquet"), pa.table(columns))
    manifest = corpus.manifest.model_copy(update={"users": "data/test/users.parquet"})
    storage.write_text(manifest_uri(corpus.uri, 1), manifest.model_dump_json())
    return open_corpus(corpus.uri)


def test_losses_are_the_same_on_one_worker_and_on_two_at_both_ends_of_zero(corpus, recipe, tmp_path):
    fit_bare(recipe(**BUNDLES), corpus, tmp_path / "bare")
    expected = losses(tmp_path / "bare")
    assert len(expected) == 8
    for stage in (0, 3):
        chosen = recipe(**BUNDLES, **{"train.zero.stage": stage})
        assert fit_on_ranks(2, chosen, corpus, tmp_path / f"two-{stage}") == []
        np.testing.assert_allclose(losses(tmp_path / f"two-{stage}"), expected, rtol=1e-4)


def test_a_run_that_was_cut_goes_on_as_if_nothing_happened(corpus, recipe, tmp_path):
    chosen = recipe(**BUNDLES, **{"train.checkpoint_every": 0.2, "train.keep_checkpoints": 9})
    fit_bare(chosen, corpus, tmp_path / "run")
    whole = losses(tmp_path / "run")
    for place in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(place)
    fit_bare(chosen, corpus, tmp_path / "run")
    assert losses(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder.profile": ("gender",)}, r"encoder\.profile: no 'gender' among the users' columns half, age, name"),
        ({"encoder.profile": ("name",)}, r"encoder\.profile name: it has 120 values, more than 100"),
        ({"objective.columns": ["category"]}, r"objective\.columns: the items of this log have no column 'category'"),
        ({"objective.fields": ["price"]}, r"objective\.fields price"),
        ({"encoder.context": ("event",)}, r"encoder\.context event"),
    ],
)
def test_what_the_log_lacks_is_refused_by_name_before_it_starts(corpus, recipe, changes, told):
    objective = dict(BUNDLES["objective"])
    fields = dict(BUNDLES)
    for name, value in changes.items():
        (objective if name.startswith("objective.") else fields)[name.removeprefix("objective.")] = value
    chosen = recipe(**fields | {"objective": objective})
    with pytest.raises(UserError, match=told):
        refuse_lacking(chosen, corpus, resolve(chosen.split, corpus))


def test_a_log_without_times_or_users_is_refused_by_name(corpus, recipe):
    chosen = recipe(**BUNDLES)
    poorer = Corpus(corpus.uri, corpus.manifest.model_copy(update={"users": None, "order": "row"}))
    with pytest.raises(UserError, match=r"encoder\.profile half: .*has no table of users: put users\.csv"):
        refuse_lacking(chosen, poorer, resolve(chosen.split, poorer))
    with pytest.raises(UserError, match=r"encoder\.bundle hour"):
        poorer.manifest.require_times(chosen.reads_times())
