import pytest
from pydantic import ValidationError

from ray_userrep.recipe.encoder import EncoderConfig


@pytest.mark.parametrize("fields, named", [
    ({"width": 10, "backbone": {"kind": "transformer", "num_heads": 4}}, "num_heads"),
    ({"width": 6, "backbone": {"kind": "transformer", "num_heads": 2}}, "even width"),
    ({"widht": 8}, "widht"),
    ({"backbone": {"kind": "transformer", "num_layers": 0}}, "num_layers"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused_by_name(fields, named):
    with pytest.raises(ValidationError, match=named):
        EncoderConfig.model_validate(fields)


def test_learned_positions_need_no_even_heads():
    assert (
        EncoderConfig.model_validate({"width": 6, "backbone": {"kind": "transformer", "positions": "learned"}}).width
        == 6
    )


def test_json_round_trip():
    config = EncoderConfig.model_validate(
        {"width": 32, "backbone": {"kind": "transformer", "causal": False, "ffn": "gelu"}}
    )
    assert EncoderConfig.model_validate_json(config.model_dump_json()) == config
