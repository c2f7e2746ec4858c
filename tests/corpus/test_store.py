"""Buckets that nobody is in."""

import numpy as np
import pyarrow as pa

from ray_userrep import storage
from ray_userrep.corpus.manifest import SequenceFiles
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.corpus.summary import frequencies, split_sizes
from ray_userrep.evaluation.histories import read_histories, read_known
from ray_userrep.feed.plan import Position
from ray_userrep.feed.stream import make_plan, train_counts
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig


def without_users_in(corpus: Corpus, *empty: int) -> Corpus:
    files = SequenceFiles.of(file for file in corpus.manifest.sequences if file.bucket not in empty)
    left = np.concatenate([corpus.bucket(number).lengths_U for number in corpus.buckets() if number not in empty])
    told = {"sequences": files, "users_per_length": frequencies(left)}
    return Corpus(corpus.uri, corpus.manifest.model_copy(update=told))


def test_an_empty_bucket_has_ids_of_the_users_type_whatever_items_have(corpus):
    items = pa.table({"item_id": [f"item {number}" for number in range(50)], "count": [1] * 50})
    storage.write_parquet(f"{corpus.uri}/{corpus.manifest.items}", items)
    some = without_users_in(corpus, 0, 2)
    for bucket in (some.bucket(2, ["price"]), some.outline(2)):
        assert bucket.user_ids.type == some.bucket(1).user_ids.type == pa.int64()
        assert bucket.num_users == 0 and bucket.lengths_U.tolist() == []


def test_everything_that_reads_all_buckets_passes_over_those_without_users(corpus):
    some, config = without_users_in(corpus, 0, 2), StreamConfig(max_len=6, batch_tokens=100, shuffle_buckets=1)
    split = resolve(LeaveOneOutConfig(), some)
    plan = make_plan(some, split, config, 1, 0)
    there = np.concatenate([batch.windows.bucket_W for batch in plan.batches(Position())])
    assert set(there.tolist()) == {1, 3}
    known = read_known(some, split, ["price"])
    assert known.num_users == sum(some.bucket(number).num_users for number in (1, 3))
    assert len(known.side_N["price"]) == len(known.items_N)
    assert read_histories(some, split, "test", None, ["price"]).num_users <= known.num_users
    assert train_counts(some, split).sum() <= len(known.items_N)
    assert split_sizes(some, 2, split).total() == 0
