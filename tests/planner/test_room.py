"""A model that has no room is refused with its numbers; what a step takes beside it is said."""

import pytest

from ray_userrep.errors import UserError
from ray_userrep.planner.room import Room, tight
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipes.sasrec import sasrec
from ray_userrep.recipes.two_towers import two_towers
from ray_userrep.recipes.universal import universal

MANY = 10_000_000


def recipe_of(**encoder: object) -> Recipe:
    raw = sasrec().model_dump()
    raw["encoder"] |= {"width": 64} | encoder
    raw["objective"]["softmax"] = {"kind": "sampled"}
    return Recipe.model_validate(raw)


def test_a_table_beyond_memory_is_refused_with_its_numbers_and_what_takes_less():
    with pytest.raises(UserError, match=r"640,000,000 numbers of items and .* take 10\.2 GB .* has 8\.0 GB") as refused:
        tight(recipe_of(), MANY, Room(8e9, 1))
    assert "encoder.items.kind hashed or rows" in str(refused.value)
    assert tight(recipe_of(items={"kind": "rows"}), MANY, Room(8e9, 1)) is None  # 7.7 GB
    assert tight(recipe_of(items={"kind": "hashed"}), MANY, Room(8e9, 1)) is None
    with pytest.raises(UserError, match=r"20\.5 GB"):  # each worker of a node has a model
        tight(recipe_of(), MANY, Room(16e9, 2))


def test_parts_of_a_sum_and_a_bag_count():
    parts = [{"kind": "id"}, {"kind": "side", "num_rows": 1000}]
    with pytest.raises(UserError, match=f"{64 * (MANY + 1000):,} numbers"):
        tight(recipe_of(items={"kind": "sum", "parts": parts}), MANY, Room(8e9, 1))
    encoder = universal().encoder
    with pytest.raises(UserError, match=f"{MANY * (encoder.width + encoder.bag_width + 1):,} numbers"):
        tight(universal(), MANY, Room(8e9, 1))


def test_stage_3_divides_a_model_over_nodes():
    raw = recipe_of().model_dump()
    raw["train"] |= {"num_workers": 4, "zero": {"stage": 3}}
    assert tight(Recipe.model_validate(raw), MANY, Room(8e9, 1)) is None


def test_workers_hold_a_table_of_rows_between_them():
    raw = recipe_of(items={"kind": "rows"}).model_dump()
    raw["train"] |= {"num_workers": 2}
    recipe = Recipe.model_validate(raw)
    assert tight(recipe, MANY, Room(4.5e9, 1)) is None
    with pytest.raises(UserError, match=r"take 7\.7 GB"):  # both on one node
        tight(recipe, MANY, Room(4.5e9, 2))


def test_a_step_that_may_not_fit_is_said_and_a_usual_one_is_not():
    assert tight(recipe_of(), 1000, Room(8e9, 1)) is None and tight(two_towers(), 1000, Room(8e9, 1)) is None
    raw = recipe_of().model_dump()
    raw["stream"] |= {"batch_tokens": 2**22, "micro_tokens": 2**22}
    said = tight(Recipe.model_validate(raw), 1000, Room(8e9, 1))
    assert said is not None and "lower stream.micro_tokens, which is 4194304" in said


def test_a_micro_batch_that_may_not_fit_on_a_gpu_is_said_and_a_model_that_cannot_is_refused():
    raw = recipe_of(items={"kind": "hashed"}).model_dump()
    raw["train"]["precision"] = "bf16"
    raw["stream"] |= {"batch_tokens": 2**22, "micro_tokens": 2**22}
    small = Room(24e9, is_gpu=True)
    said = tight(Recipe.model_validate(raw), MANY, small)
    assert said is not None and "on a GPU that has 24.0 GB" in said and "lower stream.micro_tokens" in said
    raw["stream"]["micro_tokens"] = 2**16
    assert tight(Recipe.model_validate(raw), MANY, small) is None
    with pytest.raises(UserError, match=r"take 10\.2 GB on a GPU that has 8\.0 GB"):
        tight(recipe_of(), MANY, Room(8e9, is_gpu=True))


def test_what_is_offloaded_takes_no_room_on_a_gpu():
    raw = recipe_of().model_dump()
    raw["train"]["zero"] = {"stage": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}
    recipe = Recipe.model_validate(raw)
    assert tight(recipe, MANY, Room(12e9, is_gpu=True)) is None
    with pytest.raises(UserError, match="on a node"):
        tight(recipe, MANY, Room(12e9))
