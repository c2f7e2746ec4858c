"""UPRec's recipe: what of it transfers and what is refused, and that each of its losses can be left out."""

import pytest

from ray_userrep import recipes
from ray_userrep.errors import UserError
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.transfer.tasks.next_item import NextItemTask


def test_three_losses_of_equal_weight_of_which_any_can_be_left_out():
    raw = recipes.recipe("uprec").model_dump()
    parts = raw["objective"]["parts"]
    assert [(part["objective"]["kind"], part["weight"]) for part in parts] == [
        ("autoencoding", 1.0),
        ("labels", 1.0),
        ("social", 1.0),
    ]
    for left_out in range(3):
        kept = [part for place, part in enumerate(parts) if place != left_out]
        recipe = Recipe.model_validate(raw | {"objective": {"kind": "weighted", "parts": kept}})
        assert recipe.needs_relations() == (left_out != 2)


@pytest.mark.parametrize("place", [1, 2])
def test_next_items_are_not_learned_from_what_is_known_of_users(place):
    """Told before anything is pretrained, and before the corpus is looked at."""
    objective = recipes.recipe("uprec").objective.parts[place].objective
    with pytest.raises(UserError, match=f"objective.kind {objective.kind} is for pretraining: .*--transfer.encoder"):
        NextItemTask(None, (), NextItemTaskConfig(), objective, EvaluationConfig(), "last")
