"""A small corpus with users whose attributes show in what they do, and encoders over its items."""

import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.manifest import Manifest, SequenceFile
from ray_userrep.corpus.outline import write_sequences
from ray_userrep.corpus.splits import Split, resolve
from ray_userrep.corpus.store import Corpus, manifest_uri, open_corpus
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.recipe.corpus import LeaveOneOutConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe

NUM_ITEMS, NUM_BUCKETS, MAX_LEN = 40, 3, 8
NUM_TARGET_USERS, FIRST_TARGET_USER = 230, 60  # of a second log: users 60 to 259 are in both


def _sequences(num_users: int, seed: int, has_halves: bool) -> list[np.ndarray]:
    """Even users keep to the first half of the items, odd ones to the second; or all go through all of them."""
    rng, size = np.random.default_rng(seed), NUM_ITEMS // 2 if has_halves else NUM_ITEMS
    first = size * has_halves
    return [
        (rng.integers(size) + np.cumsum(rng.integers(1, 4, rng.integers(4, 20)))) % size + first * (user % 2)
        for user in range(num_users)
    ]


def _write_corpus(
    uri: str,
    num_users: int = 260,
    seed: int = 0,
    first_item: int = 0,
    first_user: int = 0,
    has_halves: bool = True,
    rate: Callable[[int, np.ndarray], np.ndarray] | None = None,
    **columns: object,
) -> Corpus:
    """`rate` gives the ratings of a user for items; the users' numbers begin with `first_user`."""
    users, files = pa.array(np.arange(first_user, first_user + num_users)), []
    sequences, hashes = _sequences(num_users, seed, has_halves), hash_ids(users)
    for bucket in range(NUM_BUCKETS):
        mine = np.flatnonzero(bucket_of(hashes, NUM_BUCKETS) == bucket)
        items = [sequences[user] for user in mine]
        times = [np.arange(len(s)) * 10**9 for s in items]
        table = {
            "user_id": users.take(pa.array(mine)),
            "user_hash": hashes[mine],
            "items": pa.array(items, pa.list_(pa.int64())),
            "timestamps": pa.array(times, pa.list_(pa.int64())),
        }
        if rate is not None:
            ratings = [rate(first_user + int(user), row) for user, row in zip(mine, items, strict=True)]
            table["rating"] = pa.array(ratings, pa.list_(pa.float64()))
        path = f"data/test/sequences/bucket={bucket:05d}/part-0.parquet"
        write_sequences(uri, path, pa.table(table))
        total = sum(map(len, items))
        files.append(SequenceFile(bucket=bucket, path=path, num_users=len(mine), num_interactions=total))
    counts = np.bincount(np.concatenate(sequences), minlength=NUM_ITEMS)
    ids = [f"item-{first_item + i}" for i in range(NUM_ITEMS)]
    storage.write_parquet(storage.join(uri, "data/items.parquet"), pa.table({"item_id": ids, "count": counts}))
    storage.write_parquet(storage.join(uri, "data/users.parquet"), pa.table({"user_id": users} | columns))
    manifest = Manifest(
        version=1, created="", source_uri=uri, reader="test", source_fingerprint="s",
        content_fingerprint=f"c{seed}-{first_item}",
        num_buckets=NUM_BUCKETS, num_users=num_users, num_items=NUM_ITEMS, num_interactions=int(counts.sum()),
        num_ties=0, num_duplicates=0, quarantined={}, interactions_per_day={"1970-01-01": int(counts.sum())},
        side_columns=["rating"] if rate else [], items="data/items.parquet", quarantine=[],
        users="data/users.parquet" if columns else None,
        sequences=files, sources="", users_per_length=Counter(map(len, sequences)),
    )  # fmt: skip
    storage.write_text(manifest_uri(uri, 1), json.dumps(manifest.model_dump()))
    return open_corpus(uri)


def taste(user: int, items: np.ndarray) -> np.ndarray:
    """Users who like items of their own parity, and some who rate all of them higher."""
    return np.where(items % 2 == user % 2, 4.0, 2.0) + 2 * (user % 3)


def two_logs(
    place: object, rate: Callable[[int, np.ndarray], np.ndarray], has_halves: bool = True
) -> tuple[Corpus, Corpus]:
    """A log of users who keep to halves of its items, or do not, and one whose users go through all of its items."""
    source = _write_corpus(f"{place}/source", rate=taste, has_halves=has_halves)
    others = {"num_users": NUM_TARGET_USERS, "first_user": FIRST_TARGET_USER, "first_item": 100}
    return source, _write_corpus(f"{place}/target", rate=rate, seed=1, has_halves=False, **others)


def half_of(num_users: int = 260) -> list[str]:
    """The attribute that shows in what users do."""
    return ["first" if user % 2 == 0 else "second" for user in range(num_users)]


@pytest.fixture
def write_corpus() -> Callable[..., Corpus]:
    return _write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """With an attribute `half` that shows in the items, and a number `age` that follows it."""
    ages = [30.0 + 20 * (user % 2) + (user * 37 % 100) / 50 for user in range(260)]
    return _write_corpus(str(tmp_path_factory.mktemp("transfer") / "corpus"), half=half_of(), age=ages)


@pytest.fixture
def split(corpus: Corpus) -> Split:
    return resolve(LeaveOneOutConfig(), corpus)


def _encoder(
    corpus: Corpus, readout: str = "last", width: int = 16, items: str = "id", **backbone: object
) -> UserEncoder:
    torch.manual_seed(0)
    fields = {"width": width, "readout": readout, "items": {"kind": items}, "backbone": {"kind": "cnn"} | backbone}
    encoder = build_encoder(EncoderConfig.model_validate(fields), corpus.items(), MAX_LEN).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.startswith("backbone."):  # no branch is silent
                parameter.normal_(std=0.2)
    return encoder


@pytest.fixture
def make_encoder(corpus: Corpus) -> Callable[..., UserEncoder]:
    """An encoder with the given backbone fields over the corpus's items."""
    return lambda **fields: _encoder(corpus, **fields)


@pytest.fixture
def recipe() -> Recipe:
    raw = Recipe(name="small").model_dump()
    raw["train"] |= {"log_every": 5}
    raw["evaluation"] |= {"num_bootstrap": 100}
    raw["stream"] |= {"max_len": MAX_LEN}
    raw["transfer"] |= {"epochs": 3.0, "batch_tokens": 256, "learning_rates": (0.01,), "hidden": 8, "num_seeds": 1}
    return Recipe.model_validate(raw)
