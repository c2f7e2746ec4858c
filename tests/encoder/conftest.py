"""Small item tables and encoders with weights that are nowhere zero."""

from collections.abc import Callable

import pyarrow as pa
import pytest
import torch

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ITEMS, MAX_LEN = 30, 12


@pytest.fixture
def table() -> ItemTable:
    return ItemTable(pa.table({"item_id": [f"item-{i}" for i in range(NUM_ITEMS)], "count": range(NUM_ITEMS, 0, -1)}))


@pytest.fixture
def make_encoder(table: ItemTable) -> Callable[..., UserEncoder]:
    """An encoder with the given backbone fields; every parameter is drawn anew, so that no branch is silent."""

    def make(width: int = 16, readout: str = "last", **backbone: object) -> UserEncoder:
        torch.manual_seed(0)
        fields = {"width": width, "readout": readout, "backbone": {"kind": "transformer", "num_heads": 2} | backbone}
        encoder = build_encoder(EncoderConfig.model_validate(fields), table, MAX_LEN).eval()
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.normal_(std=0.3)
        return encoder

    return make
