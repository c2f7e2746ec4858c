"""What a new system costs: a recipe file that puts existing parts together, and nothing anywhere else."""

import ast
from pathlib import Path

from ray_userrep import recipes
from ray_userrep.recipe.recipe import Recipe

PACKAGE = Path(recipes.__file__).parents[1]
NEW = "cbit"  # none of the systems that the package was built for


def test_a_new_system_is_one_file_that_only_composes_configs():
    naming = [path for path in sorted(PACKAGE.rglob("*.py")) if NEW in path.read_text().lower()]
    assert naming == [PACKAGE / "recipes" / f"{NEW}.py"]
    tree = ast.parse(naming[0].read_text())
    assert [type(node) for node in tree.body if not isinstance(node, ast.ImportFrom)] == [ast.Expr, ast.FunctionDef]
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert all(module.startswith("ray_userrep.recipe.") for module in modules)


def test_it_is_found_by_its_name_and_survives_being_stored():
    assert NEW in recipes.names()
    recipe = recipes.recipe(NEW)
    assert recipe.name == NEW and Recipe.model_validate_json(recipe.model_dump_json()) == recipe
