"""Buckets that workers share: the same as those read alone, read once, and read alone where sharing fails."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ray_userrep.corpus.store import open_corpus
from ray_userrep.distributed.buckets import SharedCorpus, bucket_reader
from ray_userrep.errors import UserError
from tests.corpus.conftest import write_corpus_with_sides

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def corpus(tmp_path):
    return write_corpus_with_sides(str(tmp_path / "corpus"))


def same(one, other):
    arrays = ("user_hash_U", "offsets_U1", "items_N", "timestamps_N")
    assert one.user_ids.equals(other.user_ids)
    assert all((getattr(one, name) == getattr(other, name)).all() for name in arrays)
    assert one.side_N.keys() == other.side_N.keys()


@ray.remote(num_cpus=0)
def worker(uri, reader):
    """Two epochs of a worker: every bucket, twice."""
    corpus = SharedCorpus(open_corpus(uri), reader)
    return sum(corpus.bucket(number, ["price"]).items_N.sum() for _ in range(2) for number in corpus.buckets())


def test_workers_read_every_bucket_once_and_see_what_is_there(corpus):
    reader = bucket_reader(corpus, num_copies=4)
    sums = ray.get([worker.remote(corpus.uri, reader) for _ in range(2)])
    alone = sum(corpus.bucket(number).items_N.sum() for number in corpus.buckets())
    assert sums == [2 * alone] * 2
    assert ray.get(reader.num_reads.remote()) == 4
    shared = SharedCorpus(corpus, reader)
    for number in corpus.buckets():
        same(shared.bucket(number, ["price"]), corpus.bucket(number, ["price"]))


def test_what_does_not_fit_is_read_again(corpus):
    reader = bucket_reader(corpus, num_copies=2)
    shared = SharedCorpus(corpus, reader)
    for number in (0, 1, 0, 2, 0, 1):
        shared.bucket(number)
    assert ray.get(reader.num_reads.remote()) == 4  # 0, 1, 2 and, after 2 took its place, 1


def test_a_worker_without_its_reader_reads_for_itself(corpus):
    reader = bucket_reader(corpus, num_copies=2)
    shared = SharedCorpus(corpus, reader)
    shared.bucket(0)
    ray.kill(reader)
    same(shared.bucket(1), corpus.bucket(1))


def test_a_users_error_comes_out_as_itself(corpus, tmp_path):
    file = tmp_path / "corpus" / corpus.manifest.sequences[2].path
    table = pq.read_table(file)
    turned = pa.array([times[::-1] for times in table["timestamps"].to_pylist()], table["timestamps"].type)
    pq.write_table(table.set_column(table.column_names.index("timestamps"), "timestamps", turned), file)
    shared = SharedCorpus(corpus, bucket_reader(corpus, num_copies=2))
    for reading in (corpus, shared):
        with pytest.raises(UserError, match=r"corpus .*, bucket 2: interactions of user \d+ are not in the order"):
            reading.bucket(2)
