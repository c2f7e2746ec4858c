"""The points of a study: what is the same at all of them, what differs, and what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.scaling.study.grid import StudyData, fixed, study_points, tuning_points

DATA = StudyData(100_000, np.full(50, 33), 200)


def recipe_of(**changes) -> Recipe:
    return Recipe.model_validate({"name": "small", "stream": {"max_len": 32}} | changes)


def made(**config):
    chosen = ScaleConfig(**({"sizes": (3000, 10_000, 30_000), "data": (25_000, 100_000)} | config))
    return study_points(fixed(recipe_of(), chosen), chosen, DATA, {})


def test_only_what_a_study_is_about_differs_between_points():
    grid, said = made(seeds=(0, 1))
    assert len(grid) == 12 and not said and len({point.name for point in grid}) == 12
    for point in grid:
        recipe = point.recipe
        assert recipe.encoder.items.table_width == 64 and recipe.split.rule == "cold_user"
        assert recipe.stream.user_share == point.data / 100_000 and recipe.train.epochs == 1
        assert recipe.seed == point.seed
    widths = [point.recipe.encoder.width for point in grid if point.data == 25_000 and point.seed == 0]
    assert widths == sorted(set(widths))


def test_the_settings_with_the_most_compute_are_held_out_with_all_their_seeds():
    grid, _ = made(seeds=(0, 1), hold_out=2)
    held = {(point.size, point.data, point.seed) for point in grid if point.held_out}
    assert held == {(size, 100_000, seed) for size in (10_000, 30_000) for seed in (0, 1)}


def test_names_stay_when_a_study_grows():
    before, after = made()[0], made(sizes=(3000, 10_000, 30_000, 100_000), seeds=(0, 1, 2))[0]
    assert {point.name for point in before} < {point.name for point in after}


def test_a_budget_is_spent_at_every_size_that_it_suits():
    grid, said = made(budgets=(1.5e9,), data=(5000, 100_000), seeds=(0,))
    spent = [point for point in grid if point.kind == "isoflop"]
    assert len(spent) == 3 and not said
    assert [point.compute for point in spent] == pytest.approx([1.5e9] * 3, rel=0.01)
    assert all(a.data > b.data for a, b in itertools.pairwise(spent))
    for budget, least, unsuited in ((6e9, 5000, "3,000"), (1.5e9, 10_000, "30,000")):
        some, (warned,) = made(budgets=(budget,), data=(least, 100_000), seeds=(0,))
        inside = [point.data for point in some if point.kind == "isoflop"]
        assert len(inside) == 2 and all(least <= amount <= 100_000 for amount in inside)
        assert warned == f"budget {budget:g} does not suit the sizes {unsuited}"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"budgets": (1e4,)}, r"scale.budgets 10000: .*; this study's data are 25,000 to 100,000"),
        ({"data": (1_000_000,)}, "this is 10 epochs of it, more than scale.max_epochs 4"),
        ({"data": (20,)}, "20 interactions are less than one batch of 32"),
        ({"sizes": (20,)}, "the nearest one that the ladder has"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(config, message):
    with pytest.raises(UserError, match=message):
        made(**config)


def test_data_beyond_the_corpus_are_epochs_and_said():
    grid, said = made(data=(25_000, 250_000))
    assert "250,000 interactions are 2.5 epochs" in said[0]
    assert {point.recipe.train.epochs for point in grid} == {1.0, 2.5}


@pytest.mark.parametrize("name", ["sizes", "data", "seeds"])
def test_a_value_named_twice_is_refused(name):
    with pytest.raises(ValueError, match=f"scale.{name} names a value twice"):
        ScaleConfig(**{name: (3000, 3000)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": {"kind": "autoregressive", "softmax": {"kind": "sampled"}}}, "softmax full"),
        ({"objective": {"kind": "contrastive", "num_negatives": 8}}, "without num_negatives"),
        ({"train": {"num_workers": 2}}, "train.num_workers"),
        ({"stream": {"user_share": 0.5}}, "user_share must be 1"),
    ],
)
def test_a_recipe_whose_losses_could_not_be_compared_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        fixed(recipe_of(**changes), ScaleConfig())


def test_items_are_one_table_of_one_width_unless_they_are_made_from_texts():
    contrast = {"objective": {"kind": "contrastive"}}
    kinds = {"id": "projected", "rows": "projected", "text": "text", "words": "words"}
    for kind, kept in kinds.items():
        changes = contrast | {"encoder": {"width": 16, "items": {"kind": kind}}}
        assert fixed(recipe_of(**changes), ScaleConfig()).encoder.items.kind == kept
    for items in ({"kind": "id", "start": "text"}, {"kind": "sum", "parts": [{"kind": "id"}, {"kind": "text"}]}):
        assert fixed(recipe_of(encoder={"width": 16, "items": items}), ScaleConfig()).encoder.items.kind == "projected"


def test_tuning_tries_factors_on_middling_data_and_larger_sizes_take_the_nearest():
    config = ScaleConfig(sizes=(3000, 10_000, 30_000), data=(25_000, 50_000, 100_000), tune=(0.5, 2.0), seeds=(0,))
    recipe = fixed(recipe_of(), config)
    trials = tuning_points(recipe, config, DATA)
    assert len(trials) == 6 and not any(point.held_out for point in trials)
    assert {point.size: point.data for point in trials} == {3000: 50_000, 10_000: 50_000, 30_000: 25_000}
    plain, tuned = (study_points(recipe, config, DATA, factors)[0] for factors in ({}, {3000: 0.5, 10_000: 2.0}))
    ratios = [b.recipe.train.learning_rate / a.recipe.train.learning_rate for a, b in zip(plain, tuned, strict=True)]
    assert ratios == [0.5] * 3 + [2.0] * 6


@settings(max_examples=30, deadline=None)
@given(
    hold_out=st.integers(0, 9),
    data=st.sets(st.integers(25_000, 100_000), min_size=1, max_size=4),
    budgets=st.sampled_from([(), (1.5e9,)]),
)
def test_nothing_is_tried_where_as_much_is_held_out(hold_out, data, budgets):
    config = ScaleConfig(
        sizes=(3000, 10_000, 30_000), data=(*data, 5000), budgets=budgets, tune=(0.5, 1.0), hold_out=hold_out
    )
    recipe = fixed(recipe_of(), config)
    held = [point for point in study_points(recipe, config, DATA, {})[0] if point.held_out]
    for trial in tuning_points(recipe, config, DATA):
        assert all(trial.data < point.data for point in held if point.size == trial.size)


def test_further_axes_vary_one_thing_at_the_middle_size():
    grid, _ = made(lengths=(8, 64), batches=(64,), seeds=(0,))
    axes = [point for point in grid if point.kind in ("length", "batch")]
    assert [(p.recipe.stream.max_len, p.size) for p in axes] == [(8, 10_000), (64, 10_000), (32, 10_000)]
    assert axes[2].recipe.stream.batch_tokens == 64 and not any(point.held_out for point in axes)
