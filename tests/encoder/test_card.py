"""The card beside an encoder's weights says how to call this very encoder."""

import pytest

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.recipe.encoder import EncoderConfig


@pytest.mark.filterwarnings("ignore:1 of 1 users took nothing")
@pytest.mark.parametrize("config", [
    {},
    {"context": ["price", "event"]},
    {"context": ["gap", "category"]},
    {"backbone": {"kind": "hstu", "num_heads": 2}},
    {"readout": "bag", "bag_width": 8, "bag_kept": 4, "tempo": True},
])  # fmt: skip
def test_the_call_works(table, tmp_path, config):
    encoder = build_encoder(EncoderConfig.model_validate({"width": 8} | config), table, 4)
    encoder.save_pretrained(tmp_path)
    call = (tmp_path / "README.md").read_text().split("```python")[1].split("```")[0]
    told: dict = {}
    exec(call.replace("path/to/this/folder", str(tmp_path)), told)
    assert told["vectors"].shape == (1, encoder.vector_width)
