"""The words of a command line: what a job takes, and what it was given.

Nothing that takes long to import is imported here: every wrong option is answered at once.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeVar

from pydantic import BaseModel

from ray_userrep import recipes
from ray_userrep.errors import UserError, refuse_secrets, refuse_unfit
from ray_userrep.recipe.fields import ALIASES, config_of, from_json, validated, with_texts
from ray_userrep.recipe.recipe import Recipe

DEFAULT_RECIPE = "online_retail"
_LARGEST_FILE = 2**20
Config = TypeVar("Config", bound=BaseModel)


class Given(NamedTuple):
    """What a job was given: a recipe, options of its own by name, the config of its own, and what it was named."""

    recipe: Recipe
    own: dict[str, str]
    config: BaseModel | None
    places: tuple[str, ...] = ()

    def config_as(self, model: type[Config]) -> Config:
        """The job's own config, which is of this class."""
        assert isinstance(self.config, model)
        return self.config


Run = Callable[[Given], object]


class Job(NamedTuple):
    """A job: what it is for, what imports that which runs it, and what it takes; `on_ray` says whether it may need Ray.

    `own` are options that it cannot do without; `place` is what is named without an option, once or `several` times.
    `short` are names of fields that are plain words only here. `flags` are options that take no value, and set the
    field of `config` that they name. `config` is a flat config of its own, whose fields are options that begin with
    `prefix`; a job without a recipe takes no other fields. `starts_ray` says of a recipe whether Ray is needed at once.
    """

    name: str
    doc: str
    load: Callable[[], Run]
    own: tuple[str, ...] = ()
    place: str | None = None
    several: bool = False
    flags: tuple[str, ...] = ()
    config: type[BaseModel] | None = None
    prefix: str = ""
    has_recipe: bool = True
    short: Mapping[str, str] = {}
    on_ray: bool = True
    starts_ray: Callable[[Recipe], bool] = lambda recipe: True

    def takes(self, option: str) -> bool:
        """Whether an option is a field of the config; beside a recipe, one without a prefix has its own names alone."""
        if self.config is None:
            return False
        if self.prefix or not self.has_recipe:
            return option.startswith(self.prefix)
        return option in self.config.model_fields


def read(job: Job, argv: Sequence[str], others: Sequence[Job] = ()) -> Given:
    """What the words of a command line, behind the job's name, give it.

    Raises:
        UserError: an option is unknown, another job's, missing, without a value or given twice, or its value does not
            fit; the message names it and what it takes.
    """
    words = list(argv)
    places = _places(job, words)
    switched = {f"--{name}": f"--{name.replace('-', '_')}=true" for name in job.flags}
    given = _options([switched.get(word, word) for word in words[len(places) :]], job.short)
    options = {job.short.get(name, name): text for name, text in given.items()}
    own = {name: options.pop(name) for name in job.own if name in options}
    if missing := [name for name in job.own if name not in own]:
        needed = ", ".join(f"--{name} URI" for name in job.own)
        raise UserError(f"--{missing[0]} is missing: {job.name} needs {needed}")
    for name in job.own:
        _refuse_no_place(own[name], f"--{name}")
    config_texts = {key: text for key, text in options.items() if job.takes(key)}
    texts = {key: text for key, text in options.items() if key not in config_texts}
    _refuse_foreign(job, texts, others)
    config = None
    if job.config is not None:
        config = config_of({key.removeprefix(job.prefix): t for key, t in config_texts.items()}, job.config, job.prefix)
    return Given(_recipe(texts), own, config, places)


def _places(job: Job, words: list[str]) -> tuple[str, ...]:
    """What the job is named before its options."""
    if job.place is None:
        return ()
    places = tuple(takewhile(lambda word: not word.startswith("--"), words))
    if not places:
        raise UserError(f"{job.name} needs {job.place}: ray-userrep {job.name} {job.place}; see --help")
    for place in places:
        _refuse_no_place(place, job.place)
    return places if job.several else places[:1]


def parse(argv: Sequence[str]) -> Recipe:
    """The recipe that options describe.

    Raises:
        UserError: an unknown recipe, field or value; the message names it and what it takes.
    """
    return _recipe(_options(argv, {}))


def load(name: str) -> Recipe:
    """A recipe by name, or from a JSON file at any URI.

    Raises:
        UserError: neither a recipe nor a file of this name, or the file is not a recipe.
    """
    if name in recipes.names():
        return recipes.recipe(name)
    if name.endswith(".json"):
        _refuse_no_place(name, "--recipe")
        return _from_file(name)
    raise UserError(f"unknown recipe {name!r}: it is one of {', '.join(recipes.names())}, or a .json file")


def _from_file(uri: str) -> Recipe:
    from ray_userrep import storage  # reading files takes longer to import than all else here

    if sum(entry.size for entry in storage.list_files(uri)) > _LARGEST_FILE:
        raise UserError(f"{uri} is not a recipe: it has more than {_LARGEST_FILE:,} bytes")
    try:
        raw = from_json(storage.read_bytes(uri))
    except UserError as error:
        raise UserError(f"{uri}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{uri} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{uri} is not a recipe: it holds a {type(raw).__name__}")
    return validated(raw)


def _refuse_no_place(text: str, name: str) -> None:
    refuse_unfit(text, name)
    refuse_secrets(text, name)


def _recipe(texts: dict[str, str]) -> Recipe:
    base = load(texts.get("recipe", DEFAULT_RECIPE))
    return with_texts(base, {name: text for name, text in texts.items() if name != "recipe"})


def _options(argv: Sequence[str], short: Mapping[str, str]) -> dict[str, str]:
    """`--name value` and `--name=value`, each once, whatever name it has, and with something in it."""
    options: dict[str, str] = {}
    places: set[str] = set()
    aliases = ALIASES | dict(short)
    for name, value in _pairs(argv):
        if aliases.get(name, name) in places:
            raise UserError(f"--{name} is given twice: which one is meant?")
        if not value.strip():
            raise UserError(f"--{name} is empty: is a variable unset?")
        refuse_secrets(value, f"--{name}")
        places.add(aliases.get(name, name))
        options[name] = value
    return options


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
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


def _refuse_foreign(job: Job, texts: dict[str, str], others: Sequence[Job]) -> None:
    """Refuse what belongs to other jobs, and fields of a recipe where none is taken, by what they are."""
    for name in texts:
        theirs = [one.name for one in others if name in one.own or (one.prefix and name.startswith(one.prefix))]
        if theirs:
            raise UserError(f"--{name} is an option of {' and '.join(theirs)}, not of {job.name}")
        if not job.has_recipe:
            raise UserError(f"unknown option --{name}: {job.name} takes no recipe; see ray-userrep {job.name} --help")


def unknown_job(name: str, jobs: Sequence[Job]) -> UserError:
    """What to say of a job that there is not."""
    names = [job.name for job in jobs]
    close = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {close[0]}?" if close else f"jobs are {', '.join(names)}"
    return UserError(f"unknown job {name!r}: {hint}")
