"""Complete recipes, one function a file, named as the file; variants are field overrides, not arguments."""

import pkgutil
from importlib import import_module

from ray_userrep.recipe.recipe import Recipe


def names() -> list[str]:
    """The recipes there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def recipe(name: str) -> Recipe:
    """A recipe by its name."""
    made: Recipe = getattr(import_module(f"{__name__}.{name}"), name)()
    return made
