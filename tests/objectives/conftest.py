"""A small catalogue with everything that objectives and embedders may ask for."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.feed.batch import Batch
from ray_userrep.objectives.base import Objective

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
                "text": [None if i == 4 else f"thing {i % 3} {i}" for i in range(NUM_ITEMS)],
                "price": [None if i == 5 else float(i) for i in range(NUM_ITEMS)],
                "text_vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6),
            }
        )
    )


@pytest.fixture
def two_ranks() -> Callable[..., Tensor]:
    """The summed losses of two ranks that gather each other's rows, gradients included."""

    def sums(objective: Objective, encoder: UserEncoder, views: list[list[Batch]]) -> Tensor:
        rows: list[list[Tensor]] = [[], []]

        def gather_of(rank: int, records: bool):
            def gather(own: Tensor) -> tuple[Tensor, int]:
                if records:
                    rows[rank].append(own)
                    return own, 0
                other = rows[1 - rank][place[rank]]
                place[rank] += 1
                return torch.cat([other, own] if rank else [own, other]), len(other) * rank

            return gather

        place = [0, 0]
        for rank in (0, 1):
            objective(encoder, views[rank], gather_of(rank, True))
        return sum(objective(encoder, views[rank], gather_of(rank, False)).sums_P for rank in (0, 1))

    return sums
