"""What files beside the sequences tell is what the sequences do, also where a bucket has several files."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.manifest import SequenceFile
from ray_userrep.corpus.outline import outline_path, write_sequences
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import ColdUserConfig, GlobalTimeConfig, LeaveKOutConfig, LeaveOneOutConfig

DAY = 86_400_000_000
SPLITS = [
    Split(LeaveOneOutConfig()),
    Split(LeaveOneOutConfig(), user_share=0.5),
    Split(LeaveKOutConfig(k=2)),
    Split(ColdUserConfig(valid_share=0.2)),
    Split(GlobalTimeConfig(), valid_from=5 * DAY, test_from=9 * DAY),
]


def with_late_comers(corpus: Corpus) -> Corpus:
    """The corpus with a file more in each bucket: of users who are there, of new ones, and of one with nothing."""
    files, rng = [], np.random.default_rng(1)
    for number in corpus.buckets():
        there = corpus.bucket(number).user_ids.to_numpy()
        users = pa.array(np.sort(np.append(there[::3], [1000 + number, 2000 + number])))
        lengths = np.append(rng.integers(1, 9, len(users) - 1), 0)
        offsets = pa.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
        times = np.concatenate([np.sort(rng.integers(-(10**12), 10**12, n)) for n in lengths])
        lists = {"items": rng.integers(0, 50, len(times)), "timestamps": times}
        columns = {name: pa.ListArray.from_arrays(offsets, pa.array(column)) for name, column in lists.items()}
        path = f"data/sequences/bucket={number:05d}/part-1.parquet"
        write_sequences(corpus.uri, path, pa.table({"user_id": users, "user_hash": hash_ids(users)} | columns))
        files.append(SequenceFile(bucket=number, path=path, num_users=len(users), num_interactions=len(times)))
    return Corpus(corpus.uri, corpus.manifest.model_copy(update={"sequences": corpus.manifest.sequences + files}))


@pytest.mark.parametrize("more", [lambda corpus: corpus, with_late_comers], ids=["one file", "two files"])
def test_an_outline_is_the_bucket_without_its_items(corpus, more):
    corpus = more(corpus)
    for number in corpus.buckets():
        whole, told = corpus.bucket(number), corpus.outline(number)
        assert told.user_ids.equals(whole.user_ids)
        assert told.user_hash_U.tolist() == whole.user_hash_U.tolist()
        assert told.offsets_U1.tolist() == whole.offsets_U1.tolist()
        users = np.repeat(np.arange(whole.num_users), whole.lengths_U)
        order = np.lexsort((told.timestamps_N, users))
        assert told.timestamps_N[order].tolist() == (whole.timestamps_N // DAY * DAY).tolist()
        brief = corpus.outline(number, days=False)
        assert brief.user_ids.equals(told.user_ids) and not len(brief.timestamps_N)
        assert brief.user_hash_U.tolist() == told.user_hash_U.tolist()
        assert brief.offsets_U1.tolist() == told.offsets_U1.tolist()


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: f"{split.config.rule} {split.user_share}")
def test_what_is_trained_on_is_known_without_the_sequences(corpus, split):
    corpus = with_late_comers(corpus)
    expected = [split.training(corpus.bucket(number))[1].tolist() for number in corpus.buckets()]
    for file in corpus.manifest.sequences:
        storage.delete(f"{corpus.uri}/{file.path}")
    assert [split.train_lengths(corpus, number).tolist() for number in corpus.buckets()] == expected
    assert any(map(any, expected))


def test_outlines_are_not_taken_for_sequences(corpus):
    folder = corpus.manifest.sequences[0].path.rsplit("/", 1)[0]
    assert storage.exists(f"{corpus.uri}/{outline_path(corpus.manifest.sequences[0].path)}")
    assert [entry.uri.rsplit("/", 1)[1] for entry in storage.list_files(f"{corpus.uri}/{folder}")] == ["part-0.parquet"]


def test_a_corpus_without_outlines_is_to_be_prepared_again(corpus):
    storage.write_json(manifest_uri(corpus.uri, 1), corpus.manifest.model_dump() | {"schema_version": 2})
    with pytest.raises(UserError, match=r"has schema 2, this is 4: prepare it again") as caught:
        open_corpus(corpus.uri)
    assert "\n" not in str(caught.value)
