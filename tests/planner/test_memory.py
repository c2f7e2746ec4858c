"""Bytes against what DeepSpeed's engines and autograd really hold."""

import json

import pyarrow as pa
import pytest
import torch

from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.planner.accounting import Catalogue, backbone_parameters
from ray_userrep.planner.memory import activations, item_parameters, model_states, softmax_bytes
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import ZeroConfig
from tests.planner.zero_states import SIZES, STAGES, TABLE, measure, recipe_of
from tests.ranks import on_ranks

WORLD, TOKENS = 2, 160  # tokens that are no width, to tell activations from weights


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Bytes of model states on rank 0 of two, by size and stage."""
    folder = tmp_path_factory.mktemp("states")
    assert on_ranks(WORLD, measure, folder / "meeting", folder) == []
    told = json.loads((folder / "states.json").read_text())
    return {(tuple(one["size"]), one["stage"]): one["bytes"] for one in told}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_model_states_are_what_deepspeed_holds(held, stage):
    for size in SIZES:
        recipe = recipe_of(size, stage)
        encoder = recipe.encoder
        count = backbone_parameters(encoder.backbone, encoder.width, 8) + item_parameters(
            encoder, Catalogue(len(TABLE))
        )
        assert model_states(count, recipe.train.zero, WORLD).states == pytest.approx(held[size, stage], rel=0.02)


def test_offloading_moves_states_to_the_host():
    everything = model_states(1e9, ZeroConfig(stage=3), 8)
    moved = model_states(1e9, ZeroConfig(stage=3, offload_optimizer="cpu", offload_parameters="cpu"), 8)
    assert moved.states == 0 and moved.host == everything.states
    assert model_states(1e9, ZeroConfig(), 8).states == 16e9


def saved_bytes(config: EncoderConfig, is_half: bool) -> int:
    """What autograd saves in a forward pass of the encoder over windows of one length, each storage once."""
    encoder = build_encoder(config, TABLE, 32).train()
    known = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = Batch.of([[i % len(TABLE) for i in range(32)]] * (TOKENS // 32))
    weights = {p.numel() for p in encoder.parameters() if p.dim() > 1}
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        torch.autocast("cpu", torch.bfloat16, enabled=is_half),
    ):
        encoder.states(batch)
    copies = [t for t in kept.values() if is_half and t.dim() == 2 and t.numel() in weights and TOKENS not in t.shape]
    spared = known | {t.untyped_storage().data_ptr() for t in copies}
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in spared)


@pytest.mark.parametrize("is_half", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"num_layers": 4, "num_heads": 4},
        {"ffn": "gelu", "norm": "layer", "positions": "learned"},
        {"gated": True, "dropout": 0.0},
        {"causal": False, "ffn_mult": 2.0},
    ],
)
@pytest.mark.parametrize("width", [32, 144])
def test_activations_are_what_autograd_saves(width, more, is_half):
    config = EncoderConfig.model_validate({"width": width, "backbone": {"kind": "transformer"} | more})
    expected = activations(config, TOKENS, is_half, on_gpu=False)
    assert expected == pytest.approx(saved_bytes(config, is_half), rel=0.05)


def test_the_gpu_s_kernel_saves_no_padded_copies():
    config = EncoderConfig(width=128)
    assert activations(config, 100, True) < activations(config, 100, True, on_gpu=False)
    assert activations(config, 200, True) == 2 * activations(config, 100, True)


@pytest.mark.parametrize("kind", ["id", "side", "projected", "hashed", "rows"])
def test_item_parameters_are_counted_without_making_them(kind):
    columns = TABLE.table.append_column("category", pa.array(["a"] * len(TABLE))) if kind == "side" else None
    table = TABLE if columns is None else type(TABLE)(columns)
    config = EncoderConfig.model_validate({"width": 16, "items": {"kind": kind}})
    assert (
        item_parameters(config, Catalogue(len(table)))
        == build_encoder(config, table, 8).parameters_by_kind()["embedding"]
    )


def test_what_is_not_known_is_refused():
    with pytest.raises(UserError, match="a transformer only"):
        activations(EncoderConfig.model_validate({"backbone": {"kind": "gru"}}), 10, False)
    contrast = Recipe.model_validate({"name": "x", "objective": {"kind": "contrastive"}})
    with pytest.raises(UserError, match="autoregressive only"):
        softmax_bytes(contrast.objective, contrast.encoder, Catalogue(10), 10, 10)
