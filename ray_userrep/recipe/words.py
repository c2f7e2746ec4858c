"""A field's type in the words of help and errors: `integer ≥ 1`, `cosine | wsd | constant`, `list of numbers > 0`."""

import datetime as dt
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_PLAIN = {int: "integer", float: "number", bool: "true | false", str: "text", dt.date: "day as 2024-01-31"}
_SEVERAL = {int: "integers", float: "numbers", str: "texts"}


def type_of(variants: Sequence[FieldInfo]) -> str:
    """What a field takes, where several kinds of a part have it what any of them takes."""
    joint = " | " if all(choices(info.annotation) for info in variants) else " or "
    return joint.join(dict.fromkeys(_words(info.annotation, info.metadata) for info in variants))


def with_article(words: str) -> str:
    """A type as it stands in a sentence: `an integer ≥ 1`."""
    article = {"integer": "an ", "number": "a ", "list": "a ", "day": "a ", "JSON": "a "}
    return article.get(words.partition(" ")[0], "") + words


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of a literal, those of its parts where it is a union; empty where it is none."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(value for part in get_args(kind) for value in choices(part)) if _is_union(kind) else ()


def _words(kind: Any, bounds: Sequence[Any] = ()) -> str:
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return _words(inner, [*more, *bounds])
    if get_origin(kind) is Literal:
        return " | ".join(str(value) for value in get_args(kind))
    if _is_union(kind):
        parts = [_words(part, bounds) for part in get_args(kind) if part is not NoneType]
        return " or ".join(dict.fromkeys(parts)) + (" or none" if NoneType in get_args(kind) else "")
    if get_origin(kind) in (list, tuple):
        return _list(kind)
    if get_origin(kind) is dict:
        return "JSON object"
    return " ".join([_PLAIN.get(kind, "JSON"), ", ".join(_bounds(bounds))]).strip()


def _list(kind: Any) -> str:
    """One with as many as one likes (`list[int]`, `tuple[int, ...]`), or with a fixed number (`tuple[int, int]`)."""
    inner, *rest = get_args(kind)
    bare, bounds = (get_args(inner)[0], get_args(inner)[1:]) if get_origin(inner) is Annotated else (inner, ())
    number = f"{len(rest) + 1} " if rest and Ellipsis not in rest else ""
    if choices(inner):
        return f"list of {_words(inner)}"
    if not isinstance(bare, type) or issubclass(bare, BaseModel):
        return "JSON list of objects"
    return " ".join([f"list of {number}{_SEVERAL.get(bare, 'values')}", ", ".join(_bounds(bounds))]).strip()


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for one in metadata:
        match one:
            case at.Ge(ge=bound):
                yield f"≥ {bound}"
            case at.Gt(gt=bound):
                yield f"> {bound}"
            case at.Le(le=bound):
                yield f"≤ {bound}"
            case at.Lt(lt=bound):
                yield f"< {bound}"
            case FieldInfo(metadata=inner):
                yield from _bounds(inner)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)
