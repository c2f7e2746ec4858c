"""The next item's categories: against a plain loop over the log, of users with an item in the test."""

import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.splits import resolve
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import LeaveKOutConfig, LeaveOneOutConfig
from ray_userrep.recipe.transfer import NextCategoryTaskConfig, TransferConfig
from ray_userrep.transfer.tasks.build import read_label_tasks

NUM_ITEMS = 40


def categories_of(item):
    """Half of the items have two, some none, and two a category that hardly anybody takes next."""
    if item % 8 == 7:
        return None
    return f"half-{item * 2 // NUM_ITEMS}" + (f"|third-{item % 3}" if item % 2 else "") + ("|rare" if item < 1 else "")


@pytest.fixture
def corpus(write_corpus, tmp_path):
    corpus = write_corpus(str(tmp_path / "corpus"), num_users=200)
    place = storage.join(corpus.uri, "data/items.parquet")
    items = storage.read_parquet(place)
    storage.write_parquet(
        place, items.append_column("category", pa.array([categories_of(item) for item in range(NUM_ITEMS)]))
    )
    return corpus


def read(corpus, split, column="category"):
    config = TransferConfig(task=NextCategoryTaskConfig(column=column))
    (task,) = read_label_tasks(config, corpus, split, ())
    return task


@pytest.mark.parametrize("split", [LeaveOneOutConfig(), LeaveKOutConfig(k=2)])
def test_labels_are_those_of_the_first_item_after_what_is_known(corpus, split):
    task, rule = read(corpus, split), resolve(split, corpus)
    assert task.name == "next category" and task.kind == "several"
    assert task.classes == ["half-0", "half-1", "third-0", "third-1", "third-2"]
    expected, lengths = {}, {}
    for number in corpus.buckets():
        bucket, known = corpus.bucket(number), rule.known(corpus.bucket(number))
        for row, user in enumerate(bucket.user_hash_U.tolist()):
            end = bucket.offsets_U1[row] + known.lengths_U[row]
            if end < bucket.offsets_U1[row + 1] and (told := categories_of(int(bucket.items_N[end]))):
                expected[user] = [float(name in told.split("|")) for name in task.classes]
                lengths[user] = known.lengths_U[row]
    found = dict(zip(task._histories.users_U.tolist(), task._labels_U.tolist(), strict=True))
    assert found == expected and len(expected) > 100
    assert dict(zip(task._histories.users_U.tolist(), task._histories.lengths_U.tolist(), strict=True)) == lengths
    assert task.thin_users()["without_history"] == 0


def test_a_column_that_items_lack_or_that_tells_nothing_is_refused_by_name(corpus, write_corpus, tmp_path):
    with pytest.raises(UserError, match=r"transfer\.task\.column: the items of .* have no column 'brand'; they"):
        read(corpus, LeaveOneOutConfig(), "brand")
    few = write_corpus(str(tmp_path / "few"), num_users=40)
    with pytest.raises(UserError, match=r"transfer\.task next item_id: no value is in the next items of ten users"):
        read(few, LeaveOneOutConfig(), "item_id")
