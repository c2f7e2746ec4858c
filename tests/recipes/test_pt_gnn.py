"""PT-GNN's recipe: who is held out is the same in pretraining and in transfer; what of it is for pretraining alone."""

import pytest

from ray_userrep import recipes
from ray_userrep.errors import UserError
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.transfer.tasks.next_item import NextItemTask, _rule


def test_pretraining_and_transfer_hold_out_the_same_users_of_whom_three_interactions_are_known():
    recipe = recipes.recipe("pt_gnn")
    assert isinstance(recipe.transfer.task, NextItemTaskConfig)
    assert _rule(recipe.transfer.task) == recipe.split
    assert recipe.split.max_known == recipe.stream.max_len == 3
    assert not recipe.objective.ranks_items(recipe.encoder), "weights are chosen by the loss"


@pytest.mark.parametrize("layer", ["sage", "gat"])
@pytest.mark.parametrize("sampler", ["random", "learned"])
@pytest.mark.parametrize("meta", [True, False])
def test_each_part_can_be_left_out(layer, sampler, meta):
    raw = recipes.recipe("pt_gnn").model_dump()
    raw["encoder"]["backbone"] |= {"layer": layer, "sampler": sampler, "meta_aggregator": meta}
    Recipe.model_validate(raw)
    Recipe.model_validate(raw | {"objective": {"kind": "autoregressive"}})


def test_next_items_are_not_learned_by_the_oracle():
    """Told before anything is pretrained, and before the corpus is looked at."""
    objective = recipes.recipe("pt_gnn").objective
    with pytest.raises(UserError, match=r"objective.kind reconstruct is for pretraining: .*--transfer.encoder"):
        NextItemTask(None, (), NextItemTaskConfig(), objective, EvaluationConfig(), "last")
