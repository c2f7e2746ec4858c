"""P5's recipe: what it trains, and what does not go with a model of text."""

import pytest

from ray_userrep import recipes
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import with_values


def test_items_are_shuffled_and_words_are_told():
    recipe = recipes.recipe("p5")
    assert recipe.generates and recipe.generative.ids == "shuffled" and recipe.generative.whole_words
    assert not recipes.recipe("sasrec").generates


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("encoder.width", 32, "encoder and objective are not read where generative.families are trained"),
        ("split.rule", "cold_user", r"generative.families need split.rule leave_one_out \(given cold_user\)"),
        ("stream.windows", "tile", "generative.families take stream.windows last"),
        (
            "train.zero",
            {"stage": 3, "init": True},
            "train.zero.init partitions weights before a model of text draws them",
        ),
        ("train.select", "vector", "neither with train.warm_start nor with train.select"),
        ("generative.max_target", 256, "generative.max_target leaves nothing of stream.max_len"),
        ("generative.beams", 10, "generative.beams is fewer than the 10 items, or evaluation.ks"),
        ("generative.heads", 3, "generative.width 64 is no multiple of generative.heads 3"),
        ("generative.families", ["direct", "direct"], "a family is named twice"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(field, value, told):
    with pytest.raises(UserError, match=told):
        with_values(recipes.recipe("p5"), {field: value})


def test_jobs_that_need_an_encoder_say_so():
    recipes.recipe("sasrec").require_encoder("transfer")
    with pytest.raises(UserError, match=r"transfer needs an encoder, and generative\.families trains a model of text"):
        recipes.recipe("p5").require_encoder("transfer")
