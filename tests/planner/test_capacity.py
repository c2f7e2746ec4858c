"""Plans: arithmetic that moves the right way, and the plan for a billion users."""

import pytest

from ray_userrep.planner.accounting import Catalogue, training_cost
from ray_userrep.planner.capacity import (
    GPUS,
    WAYS,
    capacity_table,
    memory_of,
    plan_capacity,
    step_load,
    step_seconds,
)
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe

KIND = {"kind": "transformer"}
RECIPE = Recipe.model_validate(
    {
        "name": "large",
        "stream": {"max_len": 256, "batch_tokens": 2**21, "micro_tokens": 2**15},
        "encoder": {"width": 1024, "items": {"kind": "hashed"}, "backbone": {"num_layers": 16, "num_heads": 16} | KIND},
        "objective": {"kind": "autoregressive", "softmax": {"kind": "sampled", "num_negatives": 4096}},
        "train": {"epochs": 1, "precision": "bf16"},
    }
)  # fmt: skip


def test_a_billion_users_have_a_plan_with_its_assumptions():
    told = plan_capacity(RECIPE, PlanConfig(nodes=16, usd_per_gpu_hour=3.0))
    way = told["ways"]["ZeRO-2"]
    assert told["gpus"] == 128 and way["fits"] and way["steps"] == pytest.approx(1e12 / 2**21)
    assert way["usd"] == pytest.approx(way["hours"] * 128 * 3.0)
    assert told["data"]["bytes"] == 16e12 and told["data"]["interactions_per_user"] == 1000
    printed = capacity_table(told)
    assert "1,000,000,000 users" in printed and "DOES NOT FIT" not in printed.split("\n")[4]
    largest = {name: one["largest_backbone"] for name, one in told["ways"].items()}
    assert largest["ZeRO-0"] < largest["ZeRO-1"] < largest["ZeRO-2"] < largest["ZeRO-3"]


def test_the_largest_backbone_is_the_border_of_what_fits():
    config = PlanConfig(gpu="l4", gpus_per_node=1)
    told = plan_capacity(RECIPE, config)
    bytes_free = GPUS["l4"].memory * (1 - config.reserve)
    for name, zero in WAYS.items():
        total = memory_of(RECIPE, config, zero).total
        fits = told["ways"][name]["largest_backbone"] > told["parameters"]["backbone"] * 1.02
        assert not fits or total < bytes_free or told["ways"][name]["memory"]["host"] > 0


def test_the_largest_micro_batch_is_the_border_of_what_fits():
    config = PlanConfig(nodes=16)
    for name, way in plan_capacity(RECIPE, config)["ways"].items():
        most = way["micro_tokens"]
        room = GPUS["h100"].memory * (1 - config.reserve)
        assert memory_of(RECIPE, config, WAYS[name], most).total <= room
        assert memory_of(RECIPE, config, WAYS[name], 2 * most).total > room


def test_in_batch_negatives_of_several_micro_batches_cost_three_passes_and_the_logits_of_the_whole_batch():
    config = PlanConfig(gpus_per_node=2)
    raw = RECIPE.model_dump() | {"objective": {"kind": "autoregressive", "softmax": {"kind": "in_batch"}}}
    many, one = (
        Recipe.model_validate(raw | {"stream": raw["stream"] | {"micro_tokens": tokens}}) for tokens in (2**19, 2**20)
    )
    windows = [257] * (2**19 // 256)
    micro = training_cost(many.encoder, many.objective, Catalogue(config.items), windows)
    assert step_load(many, config).flops == pytest.approx(4 * micro.total * 7 / 3)
    assert step_load(one, config).micros == 1
    softmax = memory_of(many, config, WAYS["ZeRO-0"]).softmax
    assert softmax == pytest.approx(3 * 4 * 2**19 * 2**21, rel=1e-3)


def test_product_time_is_flops_over_what_the_gpus_do():
    config = PlanConfig(gpus_per_node=1, gpu="a100-80", mfu=0.5)
    seconds = step_seconds(RECIPE, config, WAYS["ZeRO-0"])
    windows = [257] * (2**21 // 256)
    micros = 2**21 // 2**15
    whole = training_cost(RECIPE.encoder, RECIPE.objective, Catalogue(config.items), windows[: len(windows) // micros])
    assert step_load(RECIPE, config).micros == micros
    assert seconds["products"] == pytest.approx(whole.total * micros / (312e12 * 0.5))
    assert seconds["communication"] == 0


def test_more_nodes_make_steps_faster_and_communication_dearer():
    one, many = (step_seconds(RECIPE, PlanConfig(nodes=n, network_gbps=400), WAYS["ZeRO-2"]) for n in (1, 8))
    assert many["products"] < one["products"] / 7 and many["communication"] > one["communication"]
    stages = [step_seconds(RECIPE, PlanConfig(), WAYS[name])["communication"] for name in ("ZeRO-0", "ZeRO-3")]
    assert stages[1] > stages[0]
