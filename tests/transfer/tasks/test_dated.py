"""Labels as of dates: what comes later changes no number, rows of one user go together, and what is missing is told."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.store import open_corpus
from ray_userrep.errors import UserError
from ray_userrep.feed.cutting import BucketWindows, gather
from ray_userrep.feed.plan import Position, rank_slice
from ray_userrep.feed.stream import make_plan
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig
from ray_userrep.recipe.transfer import TableTaskConfig, TransferConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.transfer.arms.plain import Frozen, Full
from ray_userrep.transfer.fit import FitSpec, fit_task
from ray_userrep.transfer.tasks.build import read_label_tasks
from ray_userrep.transfer.tasks.overlap import Pretrained, refuse_overlap

NUM_USERS, SECOND = 260, 10**9  # the users' interactions lie so many us apart, from 0 on
USERS = np.arange(NUM_USERS)
HALF = USERS % 2  # shows in the items


def task_of(corpus, tmp_path, user_id=USERS, **columns):
    place = str(tmp_path / "churn.parquet")
    until = {name: pa.array(times, pa.timestamp("us", "UTC")) for name, times in columns.items() if name == "until"}
    storage.write_parquet(place, pa.table({"user_id": user_id} | columns | until))
    config = TransferConfig(task=TableTaskConfig(labels=place), columns=())
    (task,) = read_label_tasks(config, corpus, LeaveOneOutConfig(), ())
    return task


def poisoned(corpus, write_corpus, uri, until):
    """The same log, but for what lies at or after a moment of each user."""
    write_corpus(uri, half=["x"] * NUM_USERS)
    for file in corpus.manifest.sequences:
        table, place = storage.read_parquet(storage.join(corpus.uri, file.path)), storage.join(uri, file.path)
        items = [
            [item if time < until[user] else 39 - item for item, time in zip(row, times, strict=True)]
            for user, row, times in zip(
                *(table[n].to_pylist() for n in ("user_id", "items", "timestamps")), strict=True
            )
        ]
        at = table.column_names.index("items")
        storage.write_parquet(place, table.set_column(at, "items", pa.array(items, table.schema.field(at).type)))
    return open_corpus(uri)


def predicted(corpus, task, encoder, arm, recipe, uri):
    fit = FitSpec(1.0, 0, 0.01, "whole" if arm.name == "frozen_mlp" else "last")
    make = lambda fitted: lambda model: BareEngine(model, fitted.train, torch.device("cpu"))  # noqa: E731
    return fit_task(recipe, corpus, encoder, task, arm, fit, uri, make).predicted_U


@pytest.mark.parametrize("arm", [Frozen("frozen_mlp", 4), Full()], ids=["frozen", "trained"])
def test_what_lies_at_the_date_or_later_changes_no_prediction(
    corpus, write_corpus, make_encoder, recipe, tmp_path, arm
):
    until = 2 * SECOND + USERS % 3 * SECOND
    other = poisoned(corpus, write_corpus, str(tmp_path / "other"), until)
    found = []
    for number, log in enumerate((corpus, other)):
        task = task_of(log, tmp_path, label=HALF, until=until)
        found.append(predicted(log, task, make_encoder(), arm, recipe, str(tmp_path / f"fit-{number}")))
    np.testing.assert_array_equal(*found)
    assert np.ptp(found[0][:, 1]) > 0
    seen = task_of(other, tmp_path, label=HALF)  # without dates all is known, and the poison shows
    assert not np.array_equal(found[0], predicted(other, seen, make_encoder(), arm, recipe, str(tmp_path / "fit-all")))


def test_a_fit_that_is_done_is_not_taken_for_one_of_other_labels(corpus, make_encoder, recipe, tmp_path):
    arm, place = Frozen("frozen_mlp", 4), str(tmp_path / "fit")
    task = task_of(corpus, tmp_path, label=HALF)
    first = predicted(corpus, task, make_encoder(), arm, recipe, place)
    np.testing.assert_array_equal(predicted(corpus, task, make_encoder(), arm, recipe, place), first)
    changed = [*HALF[:-1], HALF[0]]
    assert changed != list(HALF)
    with pytest.raises(UserError, match="fitted to other users or labels"):
        predicted(corpus, task_of(corpus, tmp_path, label=changed), make_encoder(), arm, recipe, place)


def test_each_row_is_trained_on_as_of_its_own_date(corpus, tmp_path):
    twice, until = np.tile(USERS, 2), np.repeat([2 * SECOND + 1, 4 * SECOND], NUM_USERS)
    task = task_of(corpus, tmp_path, user_id=twice, label=np.tile(HALF, 2), until=until)
    cut, windows = task.cut(1.0), []
    config = StreamConfig(max_len=8, batch_tokens=128, windows=task.windows)
    source = BucketWindows(corpus, cut, (), 8)
    for step in make_plan(corpus, cut, config, 0, 0).batches(Position()):
        for batch in gather(source, rank_slice(step, 0, 1, 10**6)):
            pairs = zip(batch.offsets_B1, batch.offsets_B1[1:], strict=False)
            windows += zip(
                batch.users_B.tolist(), ([*batch.values_T[low:high].tolist()] for low, high in pairs), strict=True
            )
    items = {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for row, user in enumerate(bucket.user_ids.to_pylist()):
            items[user] = bucket.items_N[bucket.offsets_U1[row] : bucket.offsets_U1[row + 1]].tolist()
    rows = task.known_of("train").to_pylist()
    moments = [row["until"].timestamp() * 10**6 for row in rows]
    expected = [
        items[row["user_id"]][: 3 if moment < 3 * SECOND else 4] for row, moment in zip(rows, moments, strict=True)
    ]
    assert sorted(window for _, window in windows) == sorted(expected)
    assert len({key for key, _ in windows}) == len(windows) == task.num_users("train")
    parts = [set(task.known_of(part)["user_id"].to_pylist()) for part in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == NUM_USERS


def test_a_given_split_is_kept_also_where_it_parts_a_user(corpus, tmp_path):
    parts = np.array(["train", "validation", "test"])
    users, until = np.tile(USERS[:100], 3), np.repeat([2, 3, 4], 100) * SECOND
    task = task_of(
        corpus, tmp_path, user_id=users, label=np.tile(HALF[:100], 3), until=until, split=np.repeat(parts, 100)
    )
    for part, moment in zip(("train", "valid", "test"), (2, 3, 4), strict=True):
        assert set(task.known_of(part)["user_id"].to_pylist()) == set(range(100))
        assert {time.timestamp() * 10**6 for time in task.known_of(part)["until"].to_pylist()} == {moment * SECOND}


def test_unknown_users_and_early_dates_are_told(corpus, tmp_path, capsys):
    users, until = np.arange(60, NUM_USERS + 60), np.where(USERS < 20, 0, 3 * SECOND)
    task = task_of(corpus, tmp_path, user_id=users, label=HALF, until=until)
    told = task.thin_users()
    assert (told["not_in_log"], told["without_history"], told["of_rare_class"], told["unlabelled"]) == (60, 20, 0, 0)
    assert "180 rows of 180 users" in (out := capsys.readouterr().out)
    assert "60 of users whom the log has not, 20 dated before the user's first interaction" in out
    with pytest.raises(UserError, match=r"200 of the 260 users of .*churn\.parquet are not in the log"):
        task_of(corpus, tmp_path, user_id=users + 140, label=HALF)


def test_pretraining_may_see_no_more_of_test_rows_than_they_do(corpus, tmp_path):
    task = task_of(corpus, tmp_path, label=HALF, until=np.full(NUM_USERS, 2 * SECOND))
    users, until = task.known_until()
    assert set(users) <= set(hash_ids(pa.array(USERS))) and (until == SECOND).all()
    order = np.argsort(users)
    never = np.full(len(users), np.iinfo(np.int64).max)
    before = Pretrained(users[order], until[order], never, "c0", "time")
    refuse_overlap(task.name, users, until, corpus.manifest, before)
    with pytest.raises(UserError, match="did after the task's test begins"):
        refuse_overlap(task.name, users, until, corpus.manifest, before._replace(until_U=until[order] + 1))
    whole = task_of(corpus, tmp_path, label=HALF)
    assert whole.known_until()[1].min() > SECOND


def test_several_labels_have_baselines_and_trees_of_the_vector_each(corpus, make_encoder, tmp_path):
    lists = [["odd"] * (user % 2) + ["seventh"] * (user % 7 == 0) for user in USERS.tolist()]
    task = task_of(corpus, tmp_path, labels=lists)
    truth, measure = task.truth("test"), task.measures["auc"]
    found = task.baselines(1.0) | task.fusion(make_encoder(), [1.0])[1.0]
    assert task.kind == "several" and all(one.shape == truth.shape for one in found.values())
    assert all(((one >= 0) & (one <= 1)).all() for one in found.values())
    told = found["logistic regression on tf-idf"]
    by_label = [roc_auc_score(truth[:, label], told[:, label]) for label in range(2)]
    assert measure(truth, told) == pytest.approx(np.mean(by_label)) and by_label[0] > 0.95
    assert measure(truth, found["majority"]) == 0.5
