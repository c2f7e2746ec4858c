"""Vectors as of a day are those of a log that ends before it, whatever comes later."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.store import Bucket
from ray_userrep.embedding.export import export_vectors
from ray_userrep.embedding.tables import before, items_table, lists, moment_of, newest, only, read_users, vectors_table
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.recipe.corpus import TextConfig
from ray_userrep.recipe.embedding import EmbeddingConfig
from ray_userrep.recipe.encoder import EncoderConfig

DAY, DAY_US, NUM_ITEMS = dt.date(2024, 1, 31), 86_400 * 10**6, 20


def lives(seed: int = 0, num_users: int = 12) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Items, times around the day, and prices of each user."""
    rng, middle = np.random.default_rng(seed), moment_of(DAY)
    found = []
    for _ in range(num_users):
        length = rng.integers(1, 15)
        times = middle + np.sort(rng.integers(-20 * DAY_US, 20 * DAY_US, length))
        found.append((rng.integers(NUM_ITEMS, size=length), times, rng.uniform(0, 9, length)))
    found.append((np.array([1, 2]), np.array([middle - 1, middle]), np.array([1.0, 2.0])))  # on the edge
    found.append((np.array([3]), np.array([middle + DAY_US]), np.array([1.0])))  # comes later
    return found


def bucket_of(users: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Bucket:
    ids = np.array(sorted(users))
    items, times, prices = (np.concatenate([users[u][part] for u in ids]) for part in range(3))
    offsets = np.concatenate([[0], np.cumsum([len(users[u][0]) for u in ids])])
    return Bucket(pa.array(ids), ids, offsets, items, times, {"price": prices})


def encoder(**config: object) -> UserEncoder:
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": list(range(NUM_ITEMS)), "count": [1] * NUM_ITEMS}))
    made = build_encoder(EncoderConfig.model_validate({"width": 8} | config), table, 4).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


@pytest.mark.parametrize("config", [
    {"context": ["price", "gap"]},
    {"backbone": {"kind": "hstu", "num_heads": 2}},
    {"readout": "bag", "bag_width": 8, "bag_kept": 4, "tempo": True},
])  # fmt: skip
def test_what_comes_later_changes_no_number(config):
    middle, known = moment_of(DAY), lives()
    ended = {u: tuple(part[life[1] < middle] for part in life) for u, life in enumerate(known)}
    ended = {u: life for u, life in ended.items() if len(life[0])}
    poisoned = {
        u: (np.where(t < middle, i, -(10**9)), np.where(t < middle, t, 2**62), np.where(t < middle, p, np.nan))
        for u, (i, t, p) in enumerate(known)
    }
    made = encoder(**config)
    expected = vectors_table(made, bucket_of(ended), middle, 16, "float32")
    found = vectors_table(made, before(bucket_of(poisoned), middle), middle, 16, "float32")
    assert found.equals(expected) and 0 < found.num_rows < len(known)


def test_columns_say_how_many_and_the_newest():
    table = vectors_table(encoder(), before(bucket_of(dict(enumerate(lives()))), moment_of(DAY)), 0, 16, "float16")
    row = {row["user_id"]: row for row in table.to_pylist()}[12]
    assert row["interactions"] == 1
    assert row["newest"] == dt.datetime(2024, 1, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    assert table["vector"].type == pa.list_(pa.float16(), 8)


def test_a_user_without_interactions_has_no_newest():
    nothing = np.zeros(0, np.int64)
    for ids in ([], [1, 2]):
        bucket = Bucket(
            pa.array(ids, pa.int64()), np.array(ids), np.zeros(len(ids) + 1, np.int64), nothing, nothing, {}
        )
        assert newest(bucket).to_pylist() == [None] * len(ids)


def test_only_the_users_that_are_asked_for():
    bucket = bucket_of(dict(enumerate(lives())))
    some = only(bucket, pa.array([11, 2, 99]))
    assert some.user_ids.to_pylist() == [2, 11]
    expected = vectors_table(encoder(), bucket, 0, 16, "float32").take([2, 11])
    found = vectors_table(encoder(), some, 0, 16, "float32")
    assert found.drop_columns("vector").equals(expected.drop_columns("vector"))
    for vector, as_in_all in zip(found["vector"].to_pylist(), expected["vector"].to_pylist(), strict=True):
        assert vector == pytest.approx(as_in_all, abs=1e-6)  # products of other shapes add up in another order


def test_numbers_of_half_the_size_are_the_nearest():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert lists(x, "float16").to_pylist() == x.astype(np.float16).tolist()


def test_items_score_as_in_ranking():
    made = encoder()
    table = items_table(made, "float32")
    vectors = np.stack(table["vector"].to_pylist())
    np.testing.assert_allclose(vectors, made.items(None).detach().numpy())
    assert table.column_names == ["item_id", "vector", "count"]


@pytest.mark.parametrize("content, named", [
    ("who\n1\n", "embedding.users: .* has no column user_id; it has who"),
    ("user_id\nanna\n", "user_id"),
])  # fmt: skip
def test_a_file_of_users_that_does_not_do(corpus, tmp_path, content, named):
    (tmp_path / "users.csv").write_text(content)
    with pytest.raises(UserError, match=named):
        read_users(str(tmp_path / "users.csv"), corpus, "embedding.users")
    (tmp_path / "users.csv").write_text("user_id,why\n5,a\n5,b\n7,c\n")
    assert read_users(str(tmp_path / "users.csv"), corpus, "embedding.users").to_pylist() == [5, 7]


def test_a_folder_opens_with_pandas(ray_session, corpus, tmp_path):
    made = build_encoder(EncoderConfig(width=8), corpus.items(), 8)
    made.save_pretrained(tmp_path / "encoder")
    (tmp_path / "users.csv").write_text("user_id\n5\n7\n8\n")
    config = EmbeddingConfig(
        until=["1970-01-02", "1970-02-01"], users=str(tmp_path / "users.csv"), items=True, dtype="float16"
    )
    told = export_vectors(str(tmp_path / "encoder"), corpus, str(tmp_path / "vectors"), config, TextConfig())
    found = pd.read_parquet(tmp_path / "vectors")
    assert set(found["user_id"]) == {5, 7, 8} and (told["rows"], told["users"]) == (6, 3)
    assert set(found["until"]) == {dt.date(1970, 1, 2), dt.date(1970, 2, 1)}
    assert found["vector"].iloc[0].dtype == np.float16 and found["interactions"].min() > 0
    assert len(pd.read_parquet(tmp_path / "vectors/_items.parquet")) == corpus.manifest.num_items
    with pytest.raises(UserError, match=r"embedding.until 1970-01-01: nothing lies before it, the log begins on 1970"):
        export_vectors(
            str(tmp_path / "encoder"),
            corpus,
            str(tmp_path / "early"),
            EmbeddingConfig(until="1970-01-01"),
            TextConfig(),
        )
