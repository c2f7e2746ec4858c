"""A recipe's fields by dotted path: which there are, setting them from text, and errors that name them.

Fields come from the config classes themselves, so that a new one needs no second place; values are checked by the
same models, before any work starts.
"""

import difflib
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ray_userrep.errors import UserError
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.words import choices, type_of, with_article

ALIASES = {"logs": "logs.uri", "corpus": "corpus.uri", "reader": "logs.reader"}
NONE = ("none", "None", "null")
TAGS = ("kind", "rule")  # fields that say which of several configs a part of the recipe is
Config = TypeVar("Config", bound=BaseModel)
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200


@lru_cache
def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> dict[str, list[FieldInfo]]:
    """Every settable field by its dotted path; one that several kinds of a part have, as each of them has it."""
    found: dict[str, list[FieldInfo]] = {}
    for name, info in model.model_fields.items():
        parts = kinds_of(info)
        for one in parts:
            for path, variants in fields(one, f"{prefix}{name}.").items():
                found.setdefault(path, []).extend(variants)
        if not parts:
            found[prefix + name] = [info]
    return found


def kinds_of(info: FieldInfo) -> list[type[BaseModel]]:
    """The config classes that a part may be; several of them in a row are one field, given as JSON."""
    if get_origin(info.annotation) in (list, tuple):
        return []
    options = [info.annotation, *get_args(info.annotation)]
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def validated(raw: dict[str, Any]) -> Recipe:
    """A recipe from plain values.

    Raises:
        UserError: a field is unknown, of the wrong type, or does not go with another; the message names it.
    """
    return _checked(raw, Recipe, "")


def _checked(raw: dict[str, Any], model: type[Config], prefix: str) -> Config:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(_explained(error.errors()[0], raw, model, prefix)) from None


def with_texts(base: Recipe, texts: Mapping[str, str]) -> Recipe:
    """The recipe with fields, by path or short name, set from text as on a command line.

    Raises:
        UserError: as `validated`.
    """
    return _with(base, ((name, _value(name, text, _kinds_at(ALIASES.get(name, name)))) for name, text in texts.items()))


def with_values(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with fields, by path, short name or nested, set to values.

    Raises:
        UserError: as `validated`.
    """
    return _with(base, _flattened(values))


def _with(base: Recipe, named: Iterable[tuple[str, Any]]) -> Recipe:
    raw = base.model_dump()
    # Kinds first: choosing another kind of part resets the part, which must not undo its other options.
    for name, value in sorted(named, key=lambda one: one[0].rsplit(".", 1)[-1] not in TAGS):
        _assign(raw, ALIASES.get(name, name), value)
    return validated(raw)


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`train={"zero": {"stage": 1}}` as `train.zero.stage`; a field that is itself an object stays one."""
    for name, value in values.items():
        if isinstance(value, Mapping) and not _kinds_at(prefix + name):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def config_of(texts: Mapping[str, str], model: type[Config], prefix: str = "") -> Config:
    """A flat config from texts by field name; messages call its fields by the prefix.

    Raises:
        UserError: as `validated`.
    """
    kinds = {name: info.annotation for name, info in model.model_fields.items()}
    raw: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, 1, 0.6)
            hint = f"did you mean {prefix}{close[0]}?" if close else "see --help-all"
            raise UserError(f"unknown field {prefix}{name}: {hint}")
        raw[name] = _value(prefix + name, text, [kinds[name]])
    return _checked(raw, model, prefix)


def _explained(error: ErrorDetails, raw: dict[str, Any], model: type[BaseModel], prefix: str) -> str:
    """One line that names the field and what it takes."""
    where, kind = _place(error["loc"], raw)
    known = fields(model)
    if error["type"] == "extra_forbidden":
        return f"{where} does not go with {kind}" if where in known else f"unknown field {prefix}{where}{_hint(where)}"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"] == "union_tag_invalid":
        where = f"{where}.{error['ctx']['discriminator'].strip(chr(39))}"
        return f"{where}: takes {error['ctx']['expected_tags']} (given {_SHOWN.repr(error['ctx']['tag'])})"
    given = "" if error["type"] in ("missing", "unusable") else f" (given {_SHOWN.repr(error['input'])})"
    return f"{prefix}{where}: {_taken(error, known.get(_field_above(where, known), []))}{given}"


def _taken(error: ErrorDetails, variants: Sequence[FieldInfo]) -> str:
    """What a place takes, in our own words where it is a field or in one."""
    if error["type"] == "literal_error":
        return f"takes {error['ctx']['expected']}"
    if error["type"] == "finite_number":
        return "takes a finite number"
    if error["type"] in ("missing", "unusable") or not variants:
        return error["msg"]
    return f"takes {with_article(type_of(variants))}"


def _field_above(where: str, known: Mapping[str, object]) -> str:
    """The field that a place is, or is an element of."""
    while where and where not in known:
        where = where.rpartition(".")[0]
    return where


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


def _kinds_at(path: str) -> list[Any]:
    """The types of the field at a path, one for each kind of part that has it."""
    return [info.annotation for info in fields().get(path, ())]


def _assign(raw: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    node: Any = raw
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or not _kinds_at(path):
        raise UserError(f"unknown field {path}{_hint(path)}")
    if leaf in TAGS and node[leaf] != value:
        node.clear()  # another kind of part starts from its own defaults
    node[leaf] = value


def _value(name: str, text: str, kinds: Sequence[Any]) -> Any:
    """The text where a field takes it as it is, else what it says as JSON (numbers, true, null, lists, objects)."""
    if any(text in choices(kind) or kind is str or (kind == str | None and text not in NONE) for kind in kinds):
        return text
    if text in NONE:
        return None
    try:
        return from_json(text)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nested beyond sense
        return text


def from_json(text: str | bytes) -> Any:
    """What a JSON document says.

    Raises:
        UserError: it names something twice.
        ValueError, RecursionError: it is no JSON, or nested beyond sense.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(
            f"{next(name for name in names if names.count(name) > 1)!r} is given twice: which one is meant?"
        )
    return found


def _hint(path: str) -> str:
    known = list(fields())
    if kind := next((f"{path}.{tag}" for tag in TAGS if f"{path}.{tag}" in known), None):
        return f": it has fields of its own; choose one of its kinds with {kind}"
    if inside := [name for name in known if name.startswith(f"{path}.")]:
        return f": it has fields of its own, such as {inside[0]}"
    leaf = path.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(path, known, 1, 0.6) or [name for name in known if name.split(".")[-1] == leaf]
    return f": did you mean {' or '.join(close)}?" if close else ": see --help-all for all fields"
