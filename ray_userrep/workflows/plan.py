"""A capacity plan, printed, and kept as JSON where a run folder is named."""

from ray_userrep import storage
from ray_userrep.planner.capacity import capacity_table, plan_capacity
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe


def run_plan(recipe: Recipe, config: PlanConfig) -> None:
    """Plan a recipe on hardware; nothing is read or trained."""
    told = plan_capacity(recipe, config)
    print(capacity_table(told))
    if recipe.run is not None:
        uri = storage.join(storage.absolute(recipe.run), "plan.json")
        storage.write_json(uri, {"recipe": recipe.model_dump(mode="json"), "plan": config.model_dump()} | told)
        print(f"plan      {uri}")
