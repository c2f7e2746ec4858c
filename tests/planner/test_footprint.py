"""What a log's size is said to ask, against corpora of two sizes that were written and read."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.splits import resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.feed.cutting import held
from ray_userrep.feed.plan import Position
from ray_userrep.feed.stream import at_home, make_plan
from ray_userrep.planner.footprint import advice, footprint
from ray_userrep.recipe.corpus import LeaveOneOutConfig, StreamConfig
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec


def recipe_of(**fields: Any) -> Recipe:
    raw = sasrec().model_dump()
    for name, value in fields.items():
        section, field = name.split("__")
        raw[section][field] = value
    return Recipe.model_validate(raw)


def write_corpus(uri: str, num_users: int, length: int, num_buckets: int) -> Corpus:
    """Users of one length each."""
    hashes, files = hash_ids(pa.array(range(num_users))), []
    for bucket in range(num_buckets):
        users = np.flatnonzero(bucket_of(hashes, num_buckets) == bucket)
        offsets, size = pa.array(np.arange(len(users) + 1, dtype=np.int32) * length), len(users) * length
        lists = {"items": np.zeros(size, np.int64), "timestamps": np.arange(size) * 10**6}
        columns = {name: pa.ListArray.from_arrays(offsets, pa.array(column)) for name, column in lists.items()}
        path = f"data/0123456789ab/sequences/bucket={bucket:05d}/part-0.parquet"
        sums = write_sequences(uri, path, pa.table({"user_id": users, "user_hash": hashes[users]} | columns))
        files.append(SequenceFile(bucket=bucket, path=path, num_users=len(users), num_interactions=size, **sums))
    manifest = Manifest(
        version=1, created="", source_uri="", reader="", source_fingerprint="", content_fingerprint="", num_ties=0,
        num_buckets=num_buckets, num_users=num_users, num_items=1, num_interactions=num_users * length, quarantined={},
        num_duplicates=0, interactions_per_day={}, side_columns=[], quarantine=[], items="", users=None,
        sequences=files, sources="", users_per_length={length: num_users},
    )  # fmt: skip
    storage.write_json(manifest_uri(uri, 1), manifest.model_dump())
    return open_corpus(uri)


@pytest.mark.parametrize(("num_users", "length", "num_buckets"), [(2000, 25, 64), (9000, 40, 256)])
def test_bytes_are_those_of_a_corpus_that_was_written(tmp_path, num_users, length, num_buckets):
    corpus = write_corpus(str(tmp_path), num_users, length, num_buckets)
    recipe = recipe_of(corpus__num_buckets=num_buckets, stream__shuffle_buckets=4, stream__max_len=10)
    config = PlanConfig(interactions=num_users * length, users=num_users, items=1, gpus_per_node=1)
    found = footprint(recipe, config)
    size = sum(held(corpus.bucket(number), []).nbytes for number in corpus.buckets())
    assert num_buckets * found.bucket == pytest.approx(size, rel=0.02)
    timed = footprint(recipe_of(corpus__num_buckets=num_buckets, encoder__context=("gap",)), config)
    size = sum(held(corpus.bucket(number), [TIMESTAMPS]).nbytes for number in corpus.buckets())
    assert num_buckets * timed.bucket == pytest.approx(size, rel=0.02)
    assert found.manifest == pytest.approx(len(storage.read_bytes(manifest_uri(str(tmp_path), 1))), rel=0.3)
    stream = StreamConfig(max_len=10, batch_tokens=10**6, shuffle_buckets=4)
    batches = make_plan(corpus, resolve(LeaveOneOutConfig(), corpus), stream, 1, 0).batches(Position())
    windows = sum(len(batch.windows.row_W) for batch in batches)
    told = (found.node - 8 * found.bucket) / 4 * num_buckets  # of the windows of all buckets
    assert told == pytest.approx(80 * windows + 8 * num_users, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [({}, False), ({"split__rule": "cold_user"}, True), ({"stream__user_share": 0.5}, True)],
)
def test_users_are_counted_before_planning_where_a_corpus_does_not_tell(changes, counts):
    config = PlanConfig(interactions=1e9, users=1e7, items=10, gpus_per_node=4)
    found = footprint(recipe_of(**changes), config).plan_seconds
    assert found == (1e9 / config.outline_rate / 4 if counts else 0.0)


def test_what_does_not_fit_is_said_with_what_to_set():
    config = PlanConfig(interactions=1e12, users=1e10, host_gb=200)
    recipe = recipe_of()
    found = footprint(recipe, config)
    assert found.num_buckets == 4096 and found.node > 200e9
    (line,) = advice(found, recipe, config)
    fewer = recipe_of(stream__shuffle_buckets=int(line.split("shuffle_buckets ")[1].split(",")[0]))
    more = recipe_of(corpus__num_buckets=int(line.rsplit(" ", 1)[1]))
    for mended in (fewer, more):
        assert not advice(footprint(mended, config), mended, config)
    assert not advice(footprint(recipe, PlanConfig(interactions=1e10, users=1e8)), recipe, config)


@pytest.mark.parametrize("host_gb", [0.1, 1.0, 10.0])
def test_nothing_is_said_to_be_set_that_a_recipe_refuses(host_gb):
    config = PlanConfig(interactions=1e12, users=1e10, host_gb=host_gb)
    (line,) = advice(footprint(recipe_of(), config), recipe_of(), config)
    for name, value in re.findall(r"(\w+\.\w+) (\d+)", line):
        recipe_of(**{name.replace(".", "__"): int(value)})
    assert ("nodes with more memory" in line) == (host_gb < 10)


def test_workers_of_a_node_share_what_is_decoded_and_hold_a_group_more():
    one, eight = (footprint(recipe_of(), PlanConfig(gpus_per_node=gpus)) for gpus in (1, 8))
    planned = one.node - 128 * one.bucket
    assert eight.node == pytest.approx(192 * eight.bucket + 8 * planned)


def test_nodes_hold_their_share_of_the_log():
    one, many = (footprint(recipe_of(), PlanConfig(nodes=nodes)) for nodes in (1, 4))
    planned = one.node - 192 * one.bucket
    assert (many.node - planned) / many.bucket == pytest.approx(at_home(192, 4)) and at_home(192, 4) < 192 / 2
    rng = np.random.default_rng(0)
    most = [np.bincount(rng.permutation(4096)[:192] % 4, minlength=4).max() for _ in range(300)]
    assert np.mean(np.array(most) <= at_home(192, 4)) > 0.98, "of any group"
