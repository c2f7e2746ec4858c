"""Who comes back: labels by the log's own later days, from what lay before."""

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import manifest_uri, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import GlobalTimeConfig, LeaveOneOutConfig
from ray_userrep.recipe.transfer import ReturnTaskConfig, TransferConfig
from ray_userrep.transfer.tasks.build import read_label_tasks
from ray_userrep.transfer.tasks.overlap import read_pretrained, refuse_overlap

DAY = 86_400 * 10**6
NUM_DAYS, CUT_SHARE = 100, 0.3


def write(write_corpus, uri, when):
    """The corpus with times of its own: `when(user, place, length)` in days."""
    corpus = write_corpus(uri)
    per_day = np.zeros(NUM_DAYS, int)
    for file in corpus.manifest.sequences:
        table = storage.read_parquet(storage.join(uri, file.path))
        times = []
        for user, items in zip(table["user_id"].to_pylist(), table["items"].to_pylist(), strict=True):
            days = np.sort([when(user, place, len(items)) for place in range(len(items))])
            per_day += np.bincount(days.astype(int), minlength=NUM_DAYS)
            times.append((days * DAY).astype(np.int64).tolist())
        at = table.column_names.index("timestamps")
        storage.write_parquet(
            storage.join(uri, file.path), table.set_column(at, "timestamps", [_lists(times, table.schema.field(at))])
        )
    dates = np.datetime64("1970-01-01") + np.arange(NUM_DAYS)
    named = {str(day): int(count) for day, count in zip(dates, per_day, strict=True) if count}
    manifest = corpus.manifest.model_copy(update={"interactions_per_day": named})
    storage.write_text(manifest_uri(uri, 1), json.dumps(manifest.model_dump()))
    return open_corpus(uri)


def _lists(times, field):
    return pa.array(times, field.type)


def spread(user, place, length):
    """Even users go on to the end, odd ones stop halfway; a few hours apart from each other."""
    until = NUM_DAYS - 1 if user % 2 == 0 else 45 + user % 10
    return until * (place + 0.5) / length + 0.3


@pytest.fixture
def corpus(write_corpus, tmp_path):
    return write(write_corpus, str(tmp_path / "corpus"), spread)


def read(corpus, **fields):
    split = GlobalTimeConfig(valid_share=0.1, test_share=CUT_SHARE)
    (task,) = read_label_tasks(TransferConfig(task=ReturnTaskConfig(**fields)), corpus, split, ())
    return task, resolve(split, corpus)


def everything(corpus):
    """Each user's times, by hash."""
    found = {}
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        for row, user in enumerate(bucket.user_hash_U.tolist()):
            found[user] = bucket.timestamps_N[bucket.offsets_U1[row] : bucket.offsets_U1[row + 1]]
    return found


@pytest.mark.parametrize("fields", [{"days": 10}, {"days": 3}, {"days": 10, "active_days": 20}])
def test_labels_are_what_users_do_after_the_cut_and_inputs_end_there(corpus, fields):
    task, split = read(corpus, **fields)
    times, cut = everything(corpus), split.test_from
    assert cut % DAY == 0
    users, until = task.known_until()
    for user, newest, label in zip(users.tolist(), until, task.truth("test"), strict=True):
        later = times[user][times[user] >= cut]
        assert label == (len(later) > 0 and later[0] < cut + fields["days"] * DAY)
        assert newest == times[user][times[user] < cut].max() < cut
    asked = sum(task.num_users(part) for part in ("train", "valid", "test"))
    since = cut - fields.get("active_days", NUM_DAYS) * DAY
    assert asked == sum(bool(((t >= since) & (t < cut)).any()) for t in times.values())
    for number in corpus.buckets():
        known, lengths = task.cut(1.0).training(corpus.bucket(number))
        assert (known.timestamps_N < cut).all() and lengths.max(initial=0) > 0


def test_trees_that_know_when_users_came_tell_who_comes_back(corpus):
    task, _ = read(corpus, days=10)
    found = task.baselines(1.0)
    assert roc_auc_score(task.truth("test"), found["boosted trees on tempo"][:, 1]) > 0.85


def test_pretraining_that_saw_beyond_the_cut_is_refused(corpus):
    task, split = read(corpus, days=10)
    refuse_overlap(task.name, *task.known_until(), corpus.manifest, read_pretrained(corpus, split))
    with pytest.raises(UserError, match=r"return within 10 days: pretraining was trained on what .* after the task"):
        seen = read_pretrained(corpus, resolve(LeaveOneOutConfig(), corpus))
        refuse_overlap(task.name, *task.known_until(), corpus.manifest, seen)


def test_what_cannot_be_asked_is_refused(corpus, write_corpus, tmp_path):
    with pytest.raises(UserError, match=r"return within 28 days asks .* take split\.rule global_time"):
        read_label_tasks(TransferConfig(task=ReturnTaskConfig()), corpus, LeaveOneOutConfig(), ())
    with pytest.raises(UserError, match=r"begins on 1970-.* and the log ends on 1970-04-0\d: take a larger split"):
        read(corpus, days=90)
    steady = write(write_corpus, str(tmp_path / "steady"), lambda user, place, length: (place + 0.5) * 99 / length)
    with pytest.raises(UserError, match=r"of \d+ users do: there is nothing to tell"):
        read(steady, days=25)


def test_histories_of_one_interaction_and_of_none_are_counted_and_read(write_corpus, tmp_path, make_encoder):
    def when(user, place, length):
        if user % 11 == 0 or (user % 7 == 0 and place > 0):
            return 97 + place / length
        return spread(user, place, length)

    corpus = write(write_corpus, str(tmp_path / "thin"), when)
    task, split = read(corpus, days=10)
    known = [int((times < split.test_from).sum()) for times in everything(corpus).values()]
    assert task.thin_users() == {"without_history": known.count(0), "of_one": known.count(1)}
    assert min(task.thin_users().values()) > 20
    trees = task.fusion(make_encoder(), [1.0])[1.0]
    for found in (*trees.values(), *task.baselines(1.0).values()):
        assert found.shape == (task.num_users("test"), 2) and np.isfinite(found).all()
