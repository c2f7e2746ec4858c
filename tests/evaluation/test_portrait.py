"""The pictures of an encoder beside its figures: with few users, few items, and many buckets."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.evaluation.portrait import map_of_users, nearest_items
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.report.figures import user_map

NUM_ITEMS, LENGTH = 8, 6


def corpus_of(uri: str, num_users: int, num_buckets: int) -> Corpus:
    """Users with six interactions each, each alone in a bucket; the other buckets are empty."""
    files = []
    for user in range(num_users):
        path = f"sequences/{user}.parquet"
        items, times = [[(user + step) % NUM_ITEMS for step in range(LENGTH)]], [list(range(LENGTH))]
        row = {"user_id": [user], "user_hash": hash_ids(pa.array([user])), "items": items, "timestamps": times}
        storage.write_parquet(f"{uri}/{path}", pa.table(row))
        bucket = user * num_buckets // num_users
        files.append(SequenceFile(bucket=bucket, path=path, num_users=1, num_interactions=LENGTH))
    storage.write_parquet(f"{uri}/items.parquet", items_of(NUM_ITEMS).table)
    users = {"user_id": range(num_users), "country": [f"{'AB'[user % 2]}$" for user in range(num_users)]}
    storage.write_parquet(f"{uri}/users.parquet", pa.table(users))
    manifest = Manifest(
        version=1, created="", source_uri="", reader="test", source_fingerprint="", content_fingerprint="",
        num_buckets=num_buckets, num_users=num_users, num_items=NUM_ITEMS, num_interactions=LENGTH * num_users,
        num_ties=0, num_duplicates=0, quarantined={}, interactions_per_day={}, side_columns=[], items="items.parquet",
        users="users.parquet", quarantine=[], sequences=files, sources="", users_per_length={LENGTH: num_users},
    )  # fmt: skip
    return Corpus(uri, manifest)


def items_of(number: int) -> ItemTable:
    return ItemTable(pa.table({"item_id": range(number), "count": [1] * number, "text": ["a thing"] * number}))


def encoder_of(items: ItemTable) -> UserEncoder:
    return build_encoder(EncoderConfig(width=8), items, max_len=LENGTH).eval()


@pytest.mark.parametrize("num_users", [1, 2, 3])
def test_users_who_are_too_few_make_no_map_and_are_told(tmp_path, num_users):
    found = map_of_users(corpus_of(str(tmp_path), num_users, 2), encoder_of(items_of(NUM_ITEMS)))
    assert found is not None and found["xy"] == [] == found["labels"]
    assert found["failed"] == f"only {num_users} users have five interactions"


@pytest.mark.parametrize(("num_users", "num_buckets"), [(5, 8), (12, 1_001)])
def test_users_are_on_the_map_however_many_buckets_there_are(tmp_path, num_users, num_buckets):
    found = map_of_users(corpus_of(str(tmp_path), num_users, num_buckets), encoder_of(items_of(NUM_ITEMS)))
    assert found is not None and found["failed"] is None
    assert sorted(found["labels"]) == sorted(f"{'AB'[user % 2]}$" for user in range(num_users))
    xy_U2 = np.array(found["xy"])
    assert xy_U2.shape == (num_users, 2) and np.isfinite(xy_U2).all()
    assert user_map(xy_U2, found["labels"]).startswith("<svg")


def test_users_who_all_have_one_vector_make_no_map(tmp_path):
    encoder = encoder_of(items_of(NUM_ITEMS))
    for weight in encoder.parameters():
        weight.data.zero_()
    found = map_of_users(corpus_of(str(tmp_path), 8, 4), encoder)
    assert found is not None and found["failed"] == "all users have the same vector"


@pytest.mark.parametrize("num_items", [1, 2, 8])
def test_items_have_neighbours_where_there_are_few(num_items):
    near = nearest_items(encoder_of(items_of(num_items)))
    assert {len(found) for found in near.values()} == {min(num_items - 1, 5)}
