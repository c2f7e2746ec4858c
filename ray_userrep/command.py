"""The command line of every job: a recipe by name or file, and any of its fields by dotted path.

Fields come from the config classes themselves, so that a new one needs no second place; values are checked by the
same models, before any work starts.
"""

import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ray_userrep import recipes, storage
from ray_userrep.errors import UserError
from ray_userrep.recipe import Recipe

_NONE = ("none", "None", "null")
_TAGS = ("kind", "rule")  # fields that say which of several configs a part of the recipe is
Config = TypeVar("Config", bound=BaseModel)
ALIASES = {"logs": "logs.uri", "corpus": "corpus.uri", "reader": "logs.reader"}


def run_job(main: Callable[[Recipe], None], doc: str) -> None:
    """Run a job whose only input is a recipe."""
    _run(lambda argv: main(parse(argv, doc)))


def run_encoder_job(main: Callable[[Recipe, str, str], None], doc: str) -> None:
    """Run a job that takes a recipe for its data, `--encoder URI` and `--output URI`."""

    def taken(argv: list[str]) -> None:
        own, rest = take(argv, ("encoder", "output"))
        main(parse(rest, doc), own["encoder"], own["output"])

    _run(taken)


def run_config_job(main: Callable[[Config, str], None], model: type[Config], doc: str) -> None:
    """Run a job that takes the fields of one flat config and `--output URI`, and no recipe."""

    def taken(argv: list[str]) -> None:
        if {"--help", "-h"} & set(argv):
            print("\n".join([doc.strip(), "", *_field_lines(model)]))
            return
        own, rest = take(argv, ("output",))
        main(parse_config(rest, model), own["output"])

    _run(taken)


def run_job_with(main: Callable[[Recipe, Config], None], name: str, model: type[Config], doc: str) -> None:
    """Run a job that takes a recipe and, as `--NAME.field`, the fields of one flat config beside it."""

    def taken(argv: list[str]) -> None:
        if {"--help", "-h"} & set(argv):
            print("\n".join([doc.strip(), "", *(f"--{name}.{line[2:]}" for line in _field_lines(model)), ""]))
            parse(argv, "")
        pairs, prefix = list(_pairs(argv)), f"{name}."
        own = [f"--{key.removeprefix(prefix)}={value}" for key, value in pairs if key.startswith(prefix)]
        rest = [f"--{key}={value}" for key, value in pairs if not key.startswith(prefix)]
        main(parse(rest, doc), parse_config(own, model, prefix))

    _run(taken)


def _run(main: Callable[[list[str]], None]) -> None:
    """Run on the process's arguments; a user's error is one line and exit code 2."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def parse(argv: Sequence[str], doc: str, default: str = "online_retail") -> Recipe:
    """The recipe that the arguments describe.

    Raises:
        UserError: an unknown recipe, field or value; the message names it and what it takes.
    """
    if {"--help", "-h"} & set(argv):
        print(help_text(doc))
        sys.exit(0)
    options = dict(_pairs(argv))
    recipe = load(options.pop("recipe", default))
    raw = recipe.model_dump()
    # Kinds first: choosing another kind of part resets the part, which must not undo its other options.
    for path, text in sorted(options.items(), key=lambda option: option[0].rsplit(".", 1)[-1] not in _TAGS):
        _assign(raw, ALIASES.get(path, path), text)
    return validated(raw)


def parse_config(argv: Sequence[str], model: type[Config], prefix: str = "") -> Config:
    """The flat config that the arguments describe; its fields are called by the prefix in messages.

    Raises:
        UserError: an unknown field or value; the message names it and what it takes.
    """
    kinds = {name: info.annotation for name, info in model.model_fields.items()}
    raw: dict[str, Any] = {}
    for name, text in _pairs(argv):
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, 1, 0.6)
            hint = f"did you mean {prefix}{close[0]}?" if close else "see --help"
            raise UserError(f"unknown field {prefix}{name}: {hint}")
        raw[name] = _value(text, kinds[name])
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        said = _explained(first, raw)
        raise UserError(said if first["type"] == "value_error" else prefix + said) from None


def take(argv: list[str], names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """A job's own arguments taken out of the line, and the rest, which describes the recipe.

    Raises:
        UserError: one of them is missing.
    """
    options = dict(_pairs(argv)) if not {"--help", "-h"} & set(argv) else {name: "" for name in names}
    missing = [name for name in names if name not in options]
    if missing:
        raise UserError(f"--{missing[0]} is missing: this job needs {', '.join(f'--{name} URI' for name in names)}")
    own = {name: options.pop(name) for name in names}
    rest = argv if {"--help", "-h"} & set(argv) else [f"--{name}={value}" for name, value in options.items()]
    return own, rest


def load(name: str) -> Recipe:
    """A recipe by name, or from a JSON file at any URI.

    Raises:
        UserError: neither a recipe nor a file of this name, or the file is not a recipe.
    """
    if name in recipes.names():
        return recipes.recipe(name)
    if name.endswith(".json"):
        raw = storage.read_json(name)
        if not isinstance(raw, dict):
            raise UserError(f"{name} is not a recipe: it holds a {type(raw).__name__}")
        return validated(raw)
    raise UserError(f"unknown recipe {name!r}: it is one of {', '.join(recipes.names())}, or a .json file")


def validated(raw: dict[str, Any]) -> Recipe:
    """A recipe from plain values.

    Raises:
        UserError: a field is unknown, of the wrong type, or does not go with another; the message names it.
    """
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UserError(_explained(error.errors()[0], raw)) from None


def fields(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every settable field with its dotted path."""
    for name, info in model.model_fields.items():
        inner = _models(info)
        if inner:
            for one in inner:
                yield from fields(one, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def help_text(doc: str) -> str:
    """What `--help` prints."""
    lines = [doc.strip(), "", f"--recipe NAME|FILE    one of {', '.join(recipes.names())}, or a run's recipe.json"]
    lines += [f"--{alias} VALUE    short for --{path}" for alias, path in ALIASES.items()]
    lines += ["", "Every field of the recipe can be set, as in --train.num_workers 8:", ""]
    return "\n".join([*lines, *_field_lines(Recipe)])


def _field_lines(model: type[BaseModel]) -> Iterator[str]:
    """A line of help for each settable field."""
    found: dict[str, list[FieldInfo]] = {}
    for path, info in fields(model):
        found.setdefault(path, []).append(info)
    for path, (info, *others) in found.items():
        default = "" if info.is_required() else f" = {info.get_default(call_default_factory=True)}"
        types = " or ".join(dict.fromkeys(_type_name(one) for one in (info, *others)))
        yield f"--{path}{default}    {types}{': ' + info.description if info.description else ''}"


def _explained(error: ErrorDetails, raw: dict[str, Any]) -> str:
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
        tag = next((tag for tag in _TAGS if isinstance(raw, dict) and raw.get(tag) == part), None)
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


def _type_name(info: FieldInfo) -> str:
    kind = info.annotation
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """`--name value` and `--name=value`."""
    rest = iter(argv)
    for word in rest:
        if not word.startswith("--"):
            raise UserError(f"{word!r} is not an option: options are --name value; see --help")
        name, equals, value = word[2:].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise UserError(f"--{name} needs a value; see --help")
            value = following
        yield name, value


def _assign(raw: dict[str, Any], path: str, text: str) -> None:
    *parents, leaf = path.split(".")
    node: Any = raw
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or path not in {known for known, _ in fields()}:
        raise UserError(f"unknown field {path}{_hint(path)}")
    if leaf in _TAGS and node[leaf] != text:
        node.clear()  # another kind of part starts from its own defaults
    node[leaf] = _value(text, next(info.annotation for known, info in fields() if known == path))


def _value(text: str, kind: Any) -> Any:
    """The text where the field takes it as it is, else what it says as JSON (numbers, true, null, lists, objects)."""
    is_choice = get_origin(kind) is Literal and text in get_args(kind)
    if is_choice or kind is str or (kind == str | None and text not in _NONE):
        return text
    if text in _NONE:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _hint(path: str) -> str:
    known = [name for name, _ in fields()]
    leaf = path.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(path, known, 1, 0.6) or [name for name in known if name.split(".")[-1] == leaf]
    return f": did you mean {' or '.join(dict.fromkeys(close))}?" if close else ": see --help for all fields"
