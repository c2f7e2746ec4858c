"""A catalogue with everything that a system may ask for, and users who walk through it."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from tests.pictures import pictures, states

NUM_ITEMS = 30
SYSTEMS = (
    "unisrec", "shopperbert", "clue_icdm", "clue_naver", "userbert", "uaf", "cbit", "universal", "dupn", "two_towers",
    "userbert_rakuten", "transrec",
)  # fmt: skip


@pytest.fixture(scope="session")
def table() -> ItemTable:
    vectors = np.random.default_rng(0).normal(size=NUM_ITEMS * 6).astype(np.float32)
    columns = {
        "item_id": np.arange(NUM_ITEMS),
        "count": np.ones(NUM_ITEMS, np.int64),
        "category": [f"c{i % 4}|d{i % 3}" for i in range(NUM_ITEMS)],
        "price": np.arange(NUM_ITEMS, dtype=np.float64),
        "text": [f"thing {i % 7} no {i}" for i in range(NUM_ITEMS)],
        "text_states": states([i if i % 3 else None for i in range(NUM_ITEMS)], 384),
        "image": pictures([i if i % 4 else None for i in range(NUM_ITEMS)]),
        "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 6),
        "reworded_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors * np.float32(0.9)), 6),
    }
    return ItemTable(pa.table(columns))


def walks() -> Batch:
    """Users who walk through the items in small steps, in two domains by turns."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(6, 12, 40)
    batch = Batch.of([(rng.integers(NUM_ITEMS) + np.cumsum(rng.integers(1, 3, n))) % NUM_ITEMS for n in lengths])
    batch.side[TIMESTAMPS] = torch.arange(batch.num_tokens) * 10**11
    batch.side["domain"] = 1 + torch.arange(batch.num_tokens) % 2
    batch.side["price"] = batch.values_T.double()
    return batch
