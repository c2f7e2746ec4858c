"""A corpus written by hand, with domains and prices, small enough to check by eye."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.prepare.sequences import sequence_counts, summed_lengths

NAMES = ["books", "music", None, "games"]
WEIGHTS = [0.6, 0.25, 0.1, 0.05]


def write_corpus_with_sides(uri: str, num_users: int = 80, num_buckets: int = 4, seed: int = 0) -> Corpus:
    """Users of 0 to 30 interactions, each with mostly one domain."""
    rng = np.random.default_rng(seed)
    users = pa.array(range(num_users))
    place, files, domains, of_length = bucket_of(hash_ids(users), num_buckets), [], {}, []
    for bucket in range(num_buckets):
        mine = users.filter(pa.array(place == bucket))
        lengths = rng.integers(0, 31, len(mine))
        own = np.repeat(rng.choice(4, len(mine), p=WEIGHTS), lengths)
        drawn = np.where(rng.random(len(own)) < 0.2, rng.choice(4, len(own), p=WEIGHTS), own)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        columns = {
            "items": rng.integers(0, 50, len(own)),
            "timestamps": np.concatenate([np.sort(rng.integers(0, 10**12, n)) for n in lengths]),
            "domain": pa.array([NAMES[number] for number in drawn]),
            "price": rng.random(len(own)),
        }
        lists = {name: pa.ListArray.from_arrays(offsets, pa.array(column)) for name, column in columns.items()}
        table = pa.table({"user_id": mine, "user_hash": hash_ids(mine)} | lists)
        path, told = f"data/sequences/bucket={bucket:05d}/part-0.parquet", sequence_counts(table)
        write_sequences(uri, path, table)
        files.append(SequenceFile(bucket=bucket, path=path, num_users=len(mine), num_interactions=len(own)))
        of_length.append(told["users_per_length"])
        domains = {name: domains.get(name, 0) + told["domains"].get(name, 0) for name in {*domains, *told["domains"]}}
    storage.write_parquet(f"{uri}/data/items.parquet", pa.table({"item_id": range(50), "count": [1] * 50}))
    manifest = Manifest(
        version=1, created="", source_uri="", reader="test", source_fingerprint="s", content_fingerprint="c",
        num_buckets=num_buckets, num_users=num_users, num_items=50, num_ties=0, num_duplicates=0, quarantined={},
        num_interactions=sum(file.num_interactions for file in files), interactions_per_day={"1970-01-01": 1},
        domains=dict(sorted(domains.items())), side_columns=["domain", "price"], items="data/items.parquet",
        users=None, quarantine=[], sequences=files, sources="", users_per_length=summed_lengths(of_length),
    )  # fmt: skip
    storage.write_json(manifest_uri(uri, 1), manifest.model_dump())
    return open_corpus(uri)


@pytest.fixture
def write_corpus():
    return write_corpus_with_sides


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return write_corpus_with_sides(str(tmp_path / "corpus"))
