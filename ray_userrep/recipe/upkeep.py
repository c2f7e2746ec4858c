"""What of a corpus is kept and what is not: old versions, and users who are to be forgotten."""

from typing import Any

from pydantic import Field, field_validator

from ray_userrep.recipe.settings import Settings


class VacuumConfig(Settings):
    """Which versions of a corpus stay."""

    keep: int = Field(1, ge=1, description="newest versions that stay readable")
    hours: float = Field(
        168.0, ge=0, description="what no version names is deleted only when nothing was written beside it for so long"
    )
    dry_run: bool = Field(False, description="only say what would be deleted")


class EraseConfig(Settings):
    """Where else users are forgotten."""

    vectors: list[str] = Field(
        default_factory=list, description="output folders of embed and recommend that lose the users' rows as well"
    )

    @field_validator("vectors", mode="before")
    @classmethod
    def _several(cls, places: Any) -> Any:
        return [places] if isinstance(places, str) else places
