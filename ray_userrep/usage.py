"""What `--help` prints: the few fields that most jobs are started with, or, with `--help-all`, every one by part."""

import inspect
import textwrap
from collections.abc import Iterator, Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ray_userrep import recipes
from ray_userrep.command import Job
from ray_userrep.recipe.fields import ALIASES, TAGS, fields, kinds_of
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.words import choices, type_of

# The fields that most jobs are started with, by what they are about.
_SHORT = {
    "data": (
        "logs.uri",
        "logs.items",
        "logs.users",
        "logs.reader",
        "logs.columns",
        "logs.order",
        "logs.timestamp_unit",
        "logs.timestamp_format",
        "logs.layout.separator",
        "logs.layout.header",
        "logs.layout.encoding",
        "corpus.uri",
        "split.rule",
    ),
    "model": ("encoder.width", "encoder.backbone.kind", "encoder.items.kind", "stream.max_len", "objective.kind"),
    "training": ("train.epochs", "train.learning_rate", "stream.batch_tokens", "train.num_workers", "train.zero.stage"),
    "run": ("run", "seed"),
}
_NAMES = {path: name for name, path in ALIASES.items()}
_COLUMN, _LINE = 34, 120


def overview(doc: str, jobs: Sequence[Job]) -> str:
    """What the command without a job prints."""
    lines = [f"  {job.name:<12}{job.doc.strip().splitlines()[0]}" for job in jobs]
    return "\n".join([doc.strip(), "", "jobs:", *lines, "", "ray-userrep JOB --help says more of one."])


def help_text(job: Job, every: bool) -> str:
    """What a job's `--help` prints; with every field, `--help-all`."""
    needed = [f"--{name} URI" for name in job.own]
    usage = ["usage: ray-userrep", job.name, *_named(job), *needed]
    optional = ["[--OPTION VALUE …]"] if job.has_recipe or job.config is not None else []
    lines = [" ".join(usage + optional), "", inspect.cleandoc(job.doc)]
    if job.config is not None:
        lines += ["", f"{job.name}:", *_fields_of(job.config, job.prefix)]
    if job.flags:
        lines += ["", f"without a value: {', '.join(f'--{name}' for name in job.flags)}"]
    if job.has_recipe:
        named = f"one of {', '.join(recipes.names())}; or a run's recipe.json"
        lines += ["", *_told("--recipe NAME|FILE", named), *(_by_part() if every else _short())]
    return "\n".join(lines)


def _named(job: Job) -> list[str]:
    return [] if job.place is None else [job.place + (" …" if job.several else "")]


def _short() -> Iterator[str]:
    for title, paths in _SHORT.items():
        yield from ("", f"{title}:")
        for path in paths:
            yield from _field(_NAMES.get(path, path), fields()[path])
    yield from ("", "Any other field of the recipe can be set as well: --help-all lists them.")


def _by_part() -> Iterator[str]:
    """All fields of the recipe below the part that they belong to."""
    plain = [name for name, info in Recipe.model_fields.items() if not kinds_of(info) and name != "name"]
    for name in plain:
        yield from _field(name, [Recipe.model_fields[name]])
    for name, info in Recipe.model_fields.items():
        for model in kinds_of(info):
            yield ""
            yield from _heading(name, model)
            yield from _fields_of(model, f"{name}.")


def _fields_of(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        parts = kinds_of(info)
        for part in parts:
            yield from _heading(f"  {prefix}{name}", part)
            yield from _fields_of(part, f"{prefix}{name}.")
        if not parts and not _is_mark(name, info):
            yield from _field(prefix + name, [info])


def _field(name: str, variants: Sequence[FieldInfo]) -> Iterator[str]:
    info = variants[0]
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    shown = default if isinstance(default, str | int | float) and not isinstance(default, bool) else None
    shown = str(default).lower() if isinstance(default, bool) else shown
    about = f": {info.description}" if info.description else ""
    yield from _told(f"--{name}" + (f" {shown}" if shown not in (None, "") else ""), f"{type_of(variants)}{about}")


def _told(option: str, text: str) -> Iterator[str]:
    """An option and what is said of it, wrapped beside it."""
    first, *rest = textwrap.wrap(text, _LINE - _COLUMN - 2, break_long_words=False) or [""]
    if len(option) < _COLUMN - 1:
        yield f"  {option:<{_COLUMN}}{first}"
    else:
        yield from (f"  {option}", f"  {'':<{_COLUMN}}{first}")
    yield from (f"  {'':<{_COLUMN}}{line}" for line in rest)


def _heading(name: str, model: type[BaseModel]) -> list[str]:
    """A part of the recipe, how it is chosen where it comes in several kinds, and what it is."""
    tag = next((name for name, info in model.model_fields.items() if _is_mark(name, info)), None)
    kind = "" if tag is None else f" ({tag} {model.model_fields[tag].default})"
    about = (model.__doc__ or "").strip().splitlines()[0]
    return textwrap.wrap(f"{name}{kind}: {about}", _LINE, subsequent_indent="    ")


def _is_mark(name: str, info: FieldInfo) -> bool:
    """Whether a field only says which kind of a part its class is."""
    return name in TAGS and len(choices(info.annotation)) == 1
