"""A small catalogue with everything that objectives and embedders may ask for."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep.corpus.items import ItemTable

NUM_ITEMS = 20


@pytest.fixture(scope="session")
def table() -> ItemTable:
    vectors = np.random.default_rng(0).normal(size=(NUM_ITEMS, 6)).astype(np.float32)
    return ItemTable(
        pa.table(
            {
                "item_id": np.arange(NUM_ITEMS),
                "count": np.arange(NUM_ITEMS, 0, -1),
                "category": [None if i == 3 else f"c{i % 4}|d{i % 3}" for i in range(NUM_ITEMS)],
                "price": [None if i == 5 else float(i) for i in range(NUM_ITEMS)],
                "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6),
            }
        )
    )
