"""A capacity plan, printed, and kept as JSON where a run folder is named."""

from ray_userrep import storage
from ray_userrep.planner.capacity import capacity_table, plan_capacity
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result


def run_plan(recipe: Recipe, config: PlanConfig) -> Result:
    """Plan a recipe on hardware; nothing is read or trained."""
    recipe.require_encoder("plan")
    found = plan_capacity(recipe, config)
    result = {"job": "plan", "recipe": recipe.model_dump(mode="json"), "plan": config.model_dump()} | found
    print(capacity_table(found))
    if recipe.run is not None:
        uri = storage.join(storage.kept(recipe.run), "plan.json")
        storage.write_json(uri, result)
        print(f"plan      {uri}")
    return result
