"""Buckets at home: windows as those read alone, each bucket read once, and read alone where a reader is lost.

A reader takes seconds to start, so that few are shared, and all nodes are this one.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import open_corpus
from ray_userrep.distributed.buckets import Homes, SharedCorpus, SharedWindows, find_homes
from ray_userrep.distributed.readers import Traffic, bucket_readers
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.feed.cutting import BucketWindows, gather
from ray_userrep.feed.plan import Position, rank_slice
from ray_userrep.feed.ranks import ALONE
from ray_userrep.feed.stream import make_plan
from ray_userrep.recipe.corpus import ColdItemConfig, LeaveOneOutConfig, StreamConfig
from tests.corpus.conftest import write_corpus_with_sides

STREAM = StreamConfig(max_len=6, batch_tokens=60, shuffle_buckets=2)
COLUMNS = [TIMESTAMPS, "price"]


@pytest.fixture(scope="module")
def corpus(ray_session, tmp_path_factory):
    return write_corpus_with_sides(str(tmp_path_factory.mktemp("buckets") / "corpus"))


@pytest.fixture(scope="module")
def split(corpus):
    return resolve(LeaveOneOutConfig(), corpus)


def reader_of(corpus, split, num_copies=4):
    """A reader, and what keeps it alive."""
    readers = bucket_readers(corpus, split, num_copies)
    return find_homes(readers, ALONE).readers[0], readers


@pytest.fixture(scope="module")
def reader(corpus, split):
    started, _kept = reader_of(corpus, split)
    yield started


def traffic(reader):
    return Traffic(*ray.get(reader.traffic.remote()))


def same(one, other):
    arrays = ("user_hash_U", "offsets_U1", "items_N", "timestamps_N")
    assert one.user_ids.equals(other.user_ids)
    assert all((getattr(one, name) == getattr(other, name)).all() for name in arrays)
    assert one.side_N.keys() == other.side_N.keys()


def same_batches(ones, others):
    for one, other in zip(ones, others, strict=True):
        for name in ("values_T", "offsets_B1", "users_B"):
            assert getattr(one, name).equal(getattr(other, name))
        assert one.side.keys() == other.side.keys() == {*COLUMNS}
        assert all(one.side[name].equal(other.side[name]) for name in COLUMNS)


@ray.remote(num_cpus=0)
def worker(uri, homes):
    """Two epochs of a worker: every bucket, twice."""
    corpus = SharedCorpus(open_corpus(uri), homes)
    return sum(corpus.bucket(number, ["price"]).items_N.sum() for _ in range(2) for number in corpus.buckets())


def test_workers_read_every_bucket_once_and_see_what_is_there(corpus, reader):
    before, homes = traffic(reader), Homes([reader], np.zeros(2, np.int64), 0)
    sums = ray.get([worker.remote(corpus.uri, homes) for _ in range(2)])
    assert sums == [2 * sum(corpus.bucket(number).items_N.sum() for number in corpus.buckets())] * 2
    assert traffic(reader).reads - before.reads == 4
    shared = SharedCorpus(corpus, homes)
    for number in corpus.buckets():
        same(shared.bucket(number, ["price"]), corpus.bucket(number, ["price"]))


@pytest.mark.parametrize("rule", [LeaveOneOutConfig(), ColdItemConfig()], ids=lambda rule: rule.rule)
def test_batches_are_those_read_alone_on_any_number_of_nodes(corpus, reader, rule):
    split, kept = resolve(rule, corpus), None
    if rule.rule == "cold_item":
        reader, kept = reader_of(corpus, split)
    plan, alone = make_plan(corpus, split, STREAM, 1, 0), BucketWindows(corpus, split, COLUMNS, 4)
    for nodes, ranks in [(1, 1), (1, 2), (2, 2), (2, 4), (4, 4)]:
        before, node_R = traffic(reader), np.arange(ranks) % nodes
        homes = [Homes([reader] * nodes, node_R, int(node)) for node in node_R]
        sources = [SharedWindows(own, corpus, split, COLUMNS, 4) for own in homes]
        for planned in plan.batches(Position()):
            for rank, source in enumerate(sources):
                micros = rank_slice(planned, rank, ranks, 24)
                same_batches(gather(source, micros), gather(alone, micros))
        assert (traffic(reader).sent > before.sent) == (nodes > 1)
    assert traffic(reader).reads <= 8, "each is decoded once, and once as it is"
    del kept


def test_a_worker_whose_reader_is_lost_reads_for_itself(corpus, split, reader):
    victim, _kept = reader_of(corpus, split)
    homes = [Homes([victim, reader], np.arange(2), here) for here in range(2)]
    sources = [SharedWindows(own, corpus, split, COLUMNS, 4) for own in homes]
    alone = BucketWindows(corpus, split, COLUMNS, 4)
    for number, planned in enumerate(make_plan(corpus, split, STREAM, 1, 0).batches(Position())):
        for rank, source in enumerate(sources):
            micros = rank_slice(planned, rank, 2, 100)
            same_batches(gather(source, micros), gather(alone, micros))
        if number == 0:
            ray.kill(victim)
    assert number > 2
    same(SharedCorpus(corpus, homes[1]).bucket(0), corpus.bucket(0))


def test_a_users_error_comes_out_as_itself(split, tmp_path):
    corpus = write_corpus_with_sides(str(tmp_path / "corpus"))
    file = tmp_path / "corpus" / corpus.manifest.sequences[2].path
    windows = next(make_plan(corpus, split, STREAM, 1, 0).batches(Position())).windows
    windows = windows._replace(bucket_W=np.full_like(windows.bucket_W, 2))
    table = pq.read_table(file)
    turned = pa.array([times[::-1] for times in table["timestamps"].to_pylist()], table["timestamps"].type)
    pq.write_table(table.set_column(table.column_names.index("timestamps"), "timestamps", turned), file)
    reader, _kept = reader_of(corpus, split)
    homes = [Homes([reader] * 2, np.arange(2), here) for here in range(2)]
    sources = [SharedWindows(own, corpus, split, COLUMNS, 4) for own in homes]
    reading = [lambda: corpus.bucket(2), lambda: SharedCorpus(corpus, homes[0]).bucket(2)]
    for read in [*reading, *(lambda own=source: own.cut(windows) for source in sources)]:
        with pytest.raises(UserError, match=r"^corpus .*, bucket 2: interactions of user \d+ are not in the order"):
            read()


def test_readers_are_found_again_and_read_again_what_they_could_not_hold(corpus, split):
    readers = bucket_readers(corpus, split, 2)
    homes, again = (find_homes(readers, ALONE) for _ in range(2))
    assert homes.readers[0]._actor_id == again.readers[0]._actor_id and homes.here == 0
    for number in (0, 1, 0, 2, 0, 1):
        SharedCorpus(corpus, homes).bucket(number)
    assert traffic(homes.readers[0]).reads == 4  # 0, 1, 2 and, after 2 took its place, 1


def test_buckets_are_at_home_where_the_ranks_are():
    homes = Homes([None, None], np.array([0, 0, 1]), 1)
    assert homes.of(np.arange(6)).tolist() == [0, 0, 1, 0, 0, 1]
