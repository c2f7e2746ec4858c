"""The ladder's rules: near the target at every size, smooth, and what each rule says grows or falls."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.planner import ladder
from ray_userrep.planner.accounting import backbone_parameters
from ray_userrep.recipe.encoder import GNNConfig
from ray_userrep.recipe.objective import ContrastiveConfig
from ray_userrep.recipe.recipe import Recipe

RECIPE = Recipe.model_validate({"name": "small", "encoder": {"width": 64}})
BACKBONES = [{"kind": kind} for kind in ("transformer", "hstu", "cnn", "gru", "mean")]


def with_backbone(raw: dict) -> Recipe:
    return Recipe.model_validate({"name": "small", "encoder": {"width": 64, "backbone": raw}})


@settings(deadline=None, max_examples=40)
@given(st.floats(math.log(3e3), math.log(3e8)), st.sampled_from(BACKBONES))
def test_a_rung_is_near_its_target_and_can_be_built(log_target, raw):
    recipe, target = with_backbone(raw), round(math.exp(log_target))
    shape = ladder.shape_of(recipe.encoder.backbone, 32, target)
    assert abs(math.log(shape.parameters / target)) < 0.13
    own = ladder.settings(recipe, shape, 1e6)
    built = recipe.encoder.model_validate(recipe.encoder.model_dump() | own["encoder"])  # heads split the width
    if target < 10**6:
        assert backbone_parameters(built.backbone, shape.width, 32) == shape.parameters


def test_shapes_of_gpt_3_are_about_those_of_the_rule():
    """Width and layers of the 125M and the 1.3B model (Brown et al. 2020, table 2.1), without their embeddings."""
    backbone = RECIPE.encoder.backbone
    for target, width, depth in ((85 * 10**6, 768, 12), (1208 * 10**6, 2048, 24)):
        shape = ladder.shape_of(backbone, 64, target)
        assert abs(shape.width / width - 1) < 0.12 and abs(shape.depth - depth) <= 2


def test_larger_targets_never_have_fewer_parameters():
    sizes = [ladder.shape_of(RECIPE.encoder.backbone, 32, 3000 * 2**k).parameters for k in range(18)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("target", [10, 60])
def test_a_size_below_the_ladder_is_refused_with_the_nearest(target):
    with pytest.raises(UserError, match="the nearest one that the ladder has"):
        ladder.shape_of(RECIPE.encoder.backbone, 32, target)


@given(st.floats(1e2, 1e12), st.sampled_from([8, 50, 64, 200]))
def test_batches_are_powers_of_two_that_hold_a_window_and_steps_grow_with_the_data(data, max_len):
    batch = ladder.batch_tokens(data, max_len)
    assert batch & (batch - 1) == 0 and batch >= max_len
    assert ladder.batch_tokens(4 * data, max_len) in (batch, 2 * batch)
    if batch > 2 * max_len:
        assert 1.41 * math.sqrt(data) < data / batch < 2.83 * math.sqrt(data)


def test_an_objective_that_tells_a_batch_s_users_apart_keeps_the_recipe_s_batch():
    contrastive = RECIPE.model_copy(update={"objective": ContrastiveConfig()})
    assert {ladder.batch_of(contrastive, data) for data in (1e3, 1e9)} == {contrastive.stream.batch_tokens}
    assert ladder.batch_of(RECIPE, 1e9) == ladder.batch_tokens(1e9, RECIPE.stream.max_len)


@given(st.integers(3000, 10**9), st.floats(1e4, 1e12))
def test_warm_up_sees_as_many_interactions_as_there_are_parameters_within_bounds(parameters, data):
    share = ladder.warmup_share(parameters, data)
    assert 0.02 <= share <= 0.2
    if 0.02 < share < 0.2:
        assert share * data == pytest.approx(parameters)


def test_the_learning_rate_is_the_recipe_s_at_its_own_width_and_batch():
    own = RECIPE.train.learning_rate
    assert ladder.scaled_learning_rate(RECIPE, 64, RECIPE.stream.batch_tokens) == own
    assert ladder.scaled_learning_rate(RECIPE, 256, RECIPE.stream.batch_tokens) == pytest.approx(own / 2)
    assert ladder.scaled_learning_rate(RECIPE, 64, RECIPE.stream.batch_tokens // 4) == pytest.approx(own / 2)
    assert ladder.scaled_learning_rate(RECIPE, 4, 2**24) == 1e-2


def test_items_learn_at_a_rate_of_their_own_that_no_size_changes():
    sizes = [ladder.shape_of(RECIPE.encoder.backbone, 32, 3000 * 4**k) for k in range(6)]
    rates = [ladder.settings(RECIPE, shape, 1e6)["train"] for shape in sizes]
    assert len({rate["item_learning_rate"] for rate in rates}) == 1
    assert rates[-1]["learning_rate"] < rates[0]["learning_rate"]
    own, batch = RECIPE.train.model_copy(update={"item_learning_rate": 0.02}), RECIPE.stream.batch_tokens
    assert ladder.item_learning_rate(RECIPE, batch) == RECIPE.train.learning_rate
    assert ladder.item_learning_rate(RECIPE.model_copy(update={"train": own}), batch // 4) == pytest.approx(0.01)


def test_a_graph_network_has_no_sizes():
    with pytest.raises(UserError, match=r"encoder\.backbone\.kind gnn has two hops at any size"):
        ladder.shape_of(GNNConfig(), 3, 100_000)
