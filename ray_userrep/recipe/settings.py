"""What every part of a recipe refuses, whatever its fields are: values that could be typed but neither stored nor used.

The limits are wide: they hold for all fields at once, so that a new field needs none of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from ray_userrep.errors import unfit_text

# Exact in every JSON reader and in float64, and sums of a few stay within int64.
_LARGEST_INTEGER = 2**53
_LARGEST_NUMBER = 1e36  # float32 has no larger one that can still be multiplied by a hundred
_SMALLEST_NUMBER = 1e-36


class Settings(BaseModel):
    """A part of a recipe: only fields that it has, numbers that a computer can use, text that can be stored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        reason = next(filter(None, map(_unusable, _plain(value))), None)
        if reason is not None:
            raise PydanticCustomError("unusable", "{reason}", {"reason": reason})
        return value


def _plain(value: Any) -> Iterator[Any]:
    """The value, or the plain ones in it; parts have been looked at on their own."""
    if isinstance(value, Mapping):
        yield from value
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def _unusable(value: Any) -> str | None:
    if isinstance(value, str) and (wrong := unfit_text(value)):
        return f"takes text that {wrong}"
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return "takes whole numbers up to 2**53"
    if isinstance(value, float) and value and not _SMALLEST_NUMBER <= abs(value) <= _LARGEST_NUMBER:
        return f"takes numbers from {_SMALLEST_NUMBER:g} to {_LARGEST_NUMBER:g}"
    return None
