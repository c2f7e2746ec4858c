"""A recipe's fields by dotted path: which there are, setting them from text, and errors that name them.

Fields come from the config classes themselves, so that a new one needs no second place; values are checked by the
same models, before any work starts.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe

NONE = ("none", "None", "null")
TAGS = ("kind", "rule")  # fields that say which of several configs a part of the recipe is


def validated(raw: dict[str, Any]) -> Recipe:
    """A recipe from plain values.

    Raises:
        UserError: a field is unknown, of the wrong type, or does not go with another; the message names it.
    """
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UserError(explained(error.errors()[0], raw)) from None


def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every settable field with its dotted path."""
    for name, info in model.model_fields.items():
        inner = _models(info)
        if inner:
            for one in inner:
                yield from fields(one, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def assign(raw: dict[str, Any], path: str, text: str) -> None:
    *parents, leaf = path.split(".")
    node: Any = raw
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or path not in {known for known, _ in fields()}:
        raise UserError(f"unknown field {path}{_hint(path)}")
    if leaf in TAGS and node[leaf] != text:
        node.clear()  # another kind of part starts from its own defaults
    node[leaf] = value_of(text, next(info.annotation for known, info in fields() if known == path))


def value_of(text: str, kind: Any) -> Any:
    """The text where the field takes it as it is, else what it says as JSON (numbers, true, null, lists, objects)."""
    is_choice = get_origin(kind) is Literal and text in get_args(kind)
    if is_choice or kind is str or (kind == str | None and text not in NONE):
        return text
    if text in NONE:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def explained(error: ErrorDetails, raw: dict[str, Any]) -> str:
    """One line that names the field and what it takes."""
    where, kind = _place(error["loc"], raw)
    if error["type"] == "extra_forbidden":
        known = where in {name for name, _ in fields()}
        return f"{where} does not go with {kind}" if known else f"unknown field {where}{_hint(where)}"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] == "missing" else f" (given {error['input']!r})"
    return f"{where}: {error['msg']}{given}"


def _place(loc: Sequence[int | str], raw: Any) -> tuple[str, str | None]:
    """The dotted path of an error, and the kind of the part it is in (`kind id`) where that part comes in several."""
    parts: list[str] = []
    kind = None
    for part in loc:
        tag = next((tag for tag in TAGS if isinstance(raw, dict) and raw.get(tag) == part), None)
        if tag is not None and part not in raw:
            kind = f"{tag} {part}"  # the checker's own mark of the kind, which is no field
            continue
        parts.append(str(part))
        raw = raw.get(part) if isinstance(raw, dict) else None
    return ".".join(parts), kind


def _models(info: FieldInfo) -> list[type[BaseModel]]:
    """The config classes that a field may be; several of them in a row are one field, given as JSON."""
    if get_origin(info.annotation) in (list, tuple):
        return []
    options = [info.annotation, *get_args(info.annotation)]
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def _hint(path: str) -> str:
    known = [name for name, _ in fields()]
    leaf = path.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(path, known, 1, 0.6) or [name for name in known if name.split(".")[-1] == leaf]
    return f": did you mean {' or '.join(dict.fromkeys(close))}?" if close else ": see --help for all fields"
