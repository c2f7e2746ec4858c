"""The card beside an encoder's weights says how to call this very encoder."""

import numpy as np
import pytest

from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
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


def test_damage_to_a_card_harms_no_encoder(table, tmp_path):
    encoder = build_encoder(EncoderConfig(width=8), table, 4).eval()
    encoder.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_bytes(b"\xff\xfe" + (tmp_path / "README.md").read_bytes())
    ids = table.ids.to_pylist()
    found = UserEncoder.from_pretrained(tmp_path).encode([ids[:2]])
    np.testing.assert_array_equal(found, encoder.encode([ids[:2]]))
