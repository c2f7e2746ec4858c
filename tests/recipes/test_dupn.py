"""What DUPN asks for: property gates beside a plain LSTM, four joint tasks or more, one held out for three arms."""

import numpy as np
import pyarrow as pa
import pytest

from ray_userrep import recipes
from ray_userrep.corpus.items import ItemTable
from ray_userrep.errors import UserError
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.planner.accounting import backbone_parameters
from ray_userrep.recipe.fields import with_texts

TABLE = ItemTable(pa.table({"item_id": np.arange(9), "count": np.ones(9, np.int64), "category": ["a"] * 9}))
ML_1M = {
    "encoder.context": '["event", "gap", "hour"]',
    "objective.parts": '[{"weight": 1, "objective": {"kind": "autoregressive"}}, {"weight": 1, "objective": '
    '{"kind": "next_fields", "fields": ["category", "event", "gap"]}}]',
    "transfer.task.attributes": '["occupation"]',
}


def parts_of(recipe, side_columns):
    return build_objective(recipe.objective, recipe.encoder, ObjectiveData(TABLE, side_columns, TABLE.counts)).parts


def test_four_tasks_are_joint_and_another_is_transferred_to():
    recipe = recipes.recipe("dupn")
    assert parts_of(recipe, ("price",)) == ("next_item", "next_price", "next_gap", "next_hour")
    assert recipe.transfer.task.kind == "attribute"  # of users, which none of the four reads
    assert set(recipe.transfer.arms) == {"scratch", "frozen_mlp", "full"}


def test_a_log_of_ratings_has_others():
    recipe = with_texts(recipes.recipe("dupn"), ML_1M)
    assert parts_of(recipe, ("event",)) == ("next_item", "next_category", "next_event", "next_gap")


def test_a_plain_lstm_of_equal_size_is_a_matter_of_fields():
    gated = recipes.recipe("dupn")
    plain = with_texts(gated, {"encoder.backbone.context": "added", "encoder.backbone.hidden": "78"})
    sizes = [backbone_parameters(one.encoder.backbone, one.encoder.width, 100) for one in (gated, plain)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_a_log_without_prices_is_refused_by_name():
    with pytest.raises(UserError, match=r"objective\.fields price: neither the interactions nor the items"):
        parts_of(recipes.recipe("dupn"), ())
