"""A table of what users were shown: what is read of it, what is refused, what is learned."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.objective import ImpressionsConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.fit import refuse_lacking
from ray_userrep.training.impressions import read_impressions
from ray_userrep.training.runs import read_records
from tests.ranks import fit_bare, fit_on_ranks, losses
from tests.training.conftest import small_recipe, write_hashed_corpus

NUM_USERS = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return write_hashed_corpus(str(tmp_path_factory.mktemp("shown") / "corpus"), NUM_USERS)


@pytest.fixture(scope="module")
def rows(corpus) -> dict[str, list[int]]:
    """Beside each interaction, at its very time, the next but one item of the catalogue was shown, and itself."""
    found: dict[str, list[int]] = {"user_id": [], "item_id": [], "timestamp": []}
    ids = corpus.items().ids.to_pylist()
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        users = np.repeat(bucket.user_ids.to_pylist(), np.diff(bucket.offsets_U1)).tolist()
        for user, item, time in zip(users, bucket.items_N.tolist(), bucket.timestamps_N.tolist(), strict=True):
            for shown in (item, (item + 2) % len(ids)):
                found["user_id"].append(user)
                found["item_id"].append(ids[shown])
                found["timestamp"].append(time)
    return found


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("table") / "shown.parquet")
    storage.write_parquet(uri, pa.table(rows))
    return uri


def small(table: str | None, num_steps: int = 8, **asked) -> Recipe:
    return small_recipe(**{
        "objective": {"kind": "autoregressive", "impressions": {"table": table, "timestamp_unit": "us"} | asked},
        "train.max_steps": num_steps,
    })  # fmt: skip


def read(table: str, corpus: Corpus, **asked):
    return read_impressions(ImpressionsConfig.model_validate({"table": table, "timestamp_unit": "us"} | asked), corpus)


def test_rows_are_those_of_the_table(corpus, table, rows):
    found = read(table, corpus)
    assert len(found.items_E) == len(rows["item_id"])
    assert set(found.users_U) == set(hash_ids(pa.array(rows["user_id"])))


def test_columns_may_be_called_otherwise_and_what_is_not_known_is_counted(corpus, rows, tmp_path, capsys):
    names = {"user_id": "kunde", "item_id": "artikel", "timestamp": "gezeigt"}
    lines = [",".join(names.values()), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
    lines += ["1,999999,1700000000000000", "1,2,gestern", ",2,1700000000000000"]
    (tmp_path / "shown.csv").write_text("\n".join(lines) + "\n")
    read(str(tmp_path / "shown.csv"), corpus, columns=names)
    told = capsys.readouterr().out
    total = len(rows["item_id"])
    assert f"{total:,} of {total + 3:,} rows are used" in told
    assert "2 without a user or a time that can be read, 1 of items that the corpus has not" in told


def test_a_table_that_cannot_be_meant_is_refused(corpus, rows, tmp_path):
    def written(**columns):
        storage.write_parquet(str(tmp_path / "odd.parquet"), pa.table(columns))
        return str(tmp_path / "odd.parquet")

    place = written(user_id=[1], item=[2], timestamp=[3])
    with pytest.raises(UserError, match=r"objective.impressions.table: .* has no column item_id; it has user_id, item"):
        read(place, corpus)
    with pytest.raises(UserError, match=r"objective.impressions.columns item_id: .* has no column thing"):
        read(place, corpus, columns={"item_id": "thing"})
    with pytest.raises(UserError, match=r"0 of 1 rows are used.*must be written as those of the log"):
        read(written(user_id=[1], item_id=[10**9], timestamp=[3]), corpus)
    with pytest.raises(UserError, match="there is nothing here"):
        read(str(tmp_path / "none.csv"), corpus)


def test_a_log_without_times_and_a_horizon_are_refused(corpus, table):
    assert small(table).reads_times() == "objective.impressions"
    assert small(None).reads_times() is None
    with pytest.raises(ValueError, match=r"objective.horizon must be 1"):
        small_recipe(**{"objective": {"kind": "autoregressive", "horizon": 3, "impressions": {"table": table}}})
    recipe = small(table + ".gone")
    with pytest.raises(UserError, match="there is nothing here"):
        refuse_lacking(recipe, corpus, resolve(recipe.split, corpus))


def test_two_workers_learn_what_one_does(corpus, table, tmp_path):
    recipe = small(table, weight=2.0)
    fit_bare(recipe, corpus, tmp_path / "bare")
    assert fit_on_ranks(2, recipe, corpus, tmp_path / "two") == []
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "bare"), rel=1e-5)


def test_what_was_taken_is_told_from_what_was_left(corpus, table, tmp_path):
    fit_bare(small(table, num_steps=60), corpus, tmp_path / "run")
    parts = [record["loss_shown"] for record in read_records(str(tmp_path / "run")) if record["kind"] == "train"]
    assert parts[-1] < 0.7 * parts[0]
