"""A small corpus written by hand and the recipe that trains on it in a second."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.recipe.recipe import Recipe

NUM_ITEMS, NUM_BUCKETS = 60, 3


def write_corpus(uri: str, seed: int = 0, num_users: int = 120) -> Corpus:
    """Users who walk through the items in steps of one to three: something that a model can learn."""
    rng = np.random.default_rng(seed)
    sequences, files = [], []
    for _ in range(num_users):
        steps = rng.integers(1, 4, rng.integers(2, 30))
        sequences.append((rng.integers(NUM_ITEMS) + np.cumsum(steps)) % NUM_ITEMS)
    for bucket in range(NUM_BUCKETS):
        users = np.arange(bucket, num_users, NUM_BUCKETS)
        mine = [sequences[u] for u in users]
        table = pa.table(
            {
                "user_id": users,
                "user_hash": users * 7919,
                "items": pa.array(mine, pa.list_(pa.int64())),
                "timestamps": pa.array([np.arange(len(s)) * 10**9 for s in mine], pa.list_(pa.int64())),
            }
        )
        path = f"data/test/sequences/bucket={bucket:05d}/part-0.parquet"
        write_sequences(uri, path, table)
        files.append(SequenceFile(bucket=bucket, path=path, num_users=len(users), num_interactions=sum(map(len, mine))))
    counts = np.bincount(np.concatenate(sequences), minlength=NUM_ITEMS)
    items = pa.table({"item_id": [f"item-{i}" for i in range(NUM_ITEMS)], "count": counts})
    storage.write_parquet(storage.join(uri, "data/test/items.parquet"), items)
    manifest = Manifest(
        version=1, created="", source_uri="", reader="test", source_fingerprint="s", content_fingerprint=f"c{seed}",
        num_buckets=NUM_BUCKETS, num_users=num_users, num_items=NUM_ITEMS, num_interactions=int(counts.sum()),
        num_ties=0, num_duplicates=0, quarantined={}, interactions_per_day={"1970-01-01": int(counts.sum())},
        side_columns=[], items="data/test/items.parquet", users=None, quarantine=[], sequences=files, sources="",
        users_per_length=Counter(map(len, sequences)),
    )  # fmt: skip
    storage.write_text(manifest_uri(uri, 1), json.dumps(manifest.model_dump()))
    return open_corpus(uri)


def write_hashed_corpus(uri: str, num_users: int) -> Corpus:
    """The same with hashes of users that are those of their ids, as tables beside the log are looked up by."""
    corpus = write_corpus(uri, num_users=num_users)
    for file in corpus.manifest.sequences:
        table = storage.read_parquet(storage.join(corpus.uri, file.path))
        hashes = pa.array(hash_ids(table["user_id"]))
        place = table.column_names.index("user_hash")
        write_sequences(corpus.uri, file.path, table.set_column(place, "user_hash", hashes))
    return corpus


def small_recipe(**changes: object) -> Recipe:
    """A recipe of a few thousand parameters; `changes` are dotted fields."""
    fields: dict[str, object] = {
        "name": "small",
        "stream.max_len": 8,
        "stream.batch_tokens": 128,
        "encoder.width": 16,
        "encoder.backbone.dropout": 0.0,
        "encoder.dropout": 0.0,
        "train.epochs": 2.0,
        "train.log_every": 5,
        "train.learning_rate": 1e-2,
        **changes,
    }
    raw = Recipe(name="small").model_dump()
    for dotted, value in fields.items():
        *parents, leaf = dotted.split(".")
        node = raw
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    return Recipe.model_validate(raw)


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return write_corpus(str(tmp_path / "corpus"))


@pytest.fixture
def recipe():
    return small_recipe
