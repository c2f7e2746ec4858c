"""What the job is asked for, in the words of the export that it shares."""

import pytest

import ray_userrep as ur
from ray_userrep.errors import UserError
from ray_userrep.recipe.embedding import RecommendConfig
from ray_userrep.workflows.recommend import narrowed


def test_users_and_day_are_those_of_embedding():
    recipe = ur.recipe("sasrec", **{"embedding.num_actors": 3, "embedding.users": "all.csv"})
    config = narrowed(recipe, RecommendConfig(users="u.csv", until="2024-01-01"))
    assert (config.users, config.num_actors, [str(day) for day in config.until]) == ("u.csv", 3, ["2024-01-01"])
    assert narrowed(recipe, RecommendConfig()) == recipe.embedding
    with pytest.raises(UserError, match=r"leave out embedding\.until, embedding\.users"):
        narrowed(ur.recipe("sasrec", **{"embedding.sums": True}), RecommendConfig(users="u.csv"))
