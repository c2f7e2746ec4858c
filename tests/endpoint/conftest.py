"""Small encoders in folders, what is stored of users, and an app that answers in this process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from starlette.testclient import TestClient

from ray_userrep import storage
from ray_userrep.corpus.items import ItemTable
from ray_userrep.embedding.outputs import SUMMARY
from ray_userrep.embedding.tables import lists
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.endpoint.app import make_app
from ray_userrep.endpoint.engine import Engine
from ray_userrep.endpoint.forms import About, Answer, Ask
from ray_userrep.endpoint.gate import digest_of
from ray_userrep.endpoint.stored import StoredSums
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.serve import ServeConfig

NUM_ITEMS, MAX_LEN, NAME = 30, 6, "0123456789abcdef"
TABLE = ItemTable(pa.table({"item_id": [f"item-{i}" for i in range(NUM_ITEMS)], "count": range(NUM_ITEMS, 0, -1)}))
OLD = {"ann": (["item-1", "item-2"], [1, 2]), "bob/2": (["item-3"], [5])}  # items, and days


class Direct:
    """The encoder in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def answer(self, ask: Ask) -> Answer:
        return self.engine.answer([ask])[0]

    async def about(self) -> About:
        return self.engine.about()


def built(seed: int = 0, **fields: object) -> UserEncoder:
    torch.manual_seed(seed)
    config = {"width": 8, "backbone": {"kind": "transformer", "num_heads": 2}} | fields
    encoder = build_encoder(EncoderConfig.model_validate(config), TABLE, MAX_LEN).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.3)
    return encoder


def day(number: int) -> str:
    return f"2024-03-{number:02d}T12:00:00Z"


def moments(days: list[int]) -> list[np.datetime64]:
    return [np.datetime64(day(number)[:-1]) for number in days]


@pytest.fixture(scope="session")
def window() -> UserEncoder:
    """It reads nothing but items."""
    return built()


@pytest.fixture(scope="session")
def bag() -> UserEncoder:
    """A sum over the whole history, and days up to a moment."""
    return built(readout="bag", bag_width=6, bag_kept=4, tempo=True)


@pytest.fixture
def stored(bag: UserEncoder, tmp_path: Path) -> StoredSums:
    """What `embed` stores of two users, in two files."""
    for number, (user, (items, days)) in enumerate(OLD.items()):
        sums = lists(bag.encode_sums([items], [moments(days)]))
        columns = {"user_id": [user], "interactions": [len(items)], "newest": pa.array([0], pa.timestamp("us", "UTC"))}
        storage.write_parquet(f"{tmp_path}/vectors/bucket-{number}.parquet", pa.table(columns | {"sums": sums}))
    summary = {"sums": True, "encoder_fingerprint": NAME, "users": len(OLD)}
    storage.write_json(f"{tmp_path}/vectors/{SUMMARY}", summary)
    return StoredSums(f"{tmp_path}/vectors", NAME)


@pytest.fixture
def client(window: UserEncoder) -> Callable[..., TestClient]:
    """A client of an app in this process."""

    def make(engine: Engine | None = None, token: str | None = None, **config: object) -> TestClient:
        digest = None if token is None else digest_of(token)
        return TestClient(make_app(Direct(engine or Engine(window, NAME)), ServeConfig.model_validate(config), digest))

    return make
