"""Which values of a recipe's fields are tried, and with which seeds."""

from typing import Any

from pydantic import Field, NonNegativeInt, field_validator

from ray_userrep.recipe.settings import Settings


class SweepConfig(Settings):
    """Runs of one recipe: every combination of the grid's values, each with every seed."""

    seeds: tuple[NonNegativeInt, ...] = Field((0, 1, 2), min_length=1, description="as 0,1,2: each trains every point")
    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description='values to try of fields by path, as {"train.learning_rate": [0.001, 0.003]}; none: the recipe as '
        "it is",
    )

    @field_validator("seeds", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        if isinstance(given, str):
            return given.split(",")
        return [given] if isinstance(given, int) else given

    @field_validator("seeds")
    @classmethod
    def _no_repeats(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds names one twice: {list(seeds)}")
        return seeds

    @field_validator("grid")
    @classmethod
    def _some_of_each(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [name for name, values in grid.items() if not values]:
            raise ValueError(f"grid: {empty[0]} has no values")
        return grid
