"""The command line of every job: a recipe by name or file, and any of its fields by dotted path.

Fields come from the config classes themselves, so that a new one needs no second place; values are checked by the
same models, before any work starts.
"""

import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ray_userrep import recipes, storage
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import TAGS, assign, explained, fields, validated, value_of
from ray_userrep.recipe.recipe import Recipe

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
    for path, text in sorted(options.items(), key=lambda option: option[0].rsplit(".", 1)[-1] not in TAGS):
        assign(raw, ALIASES.get(path, path), text)
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
        raw[name] = value_of(text, kinds[name])
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        said = explained(first, raw)
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
