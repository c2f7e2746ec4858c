"""The page of all fields of a recipe, made from the classes that check them."""

import re
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ray_userrep.recipe.embedding import IndexConfig, RecommendConfig
from ray_userrep.recipe.fields import ALIASES, TAGS, kinds_of
from ray_userrep.recipe.logs import SyntheticConfig
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.scale import ScaleConfig
from ray_userrep.recipe.serve import ServeConfig
from ray_userrep.recipe.sweep import SweepConfig
from ray_userrep.recipe.words import type_of

INTRODUCTION = """# All fields

Every setting of a [recipe](recipes.md), made from the classes that check it. On the command line each is an option with
two dashes, as in `--train.num_workers 8`; in Python a dotted name, as in
`ur.recipe("sasrec", **{"train.num_workers": 8})`. """
ALSO = {
    "scale": ("What `ray-userrep scale` takes besides", ScaleConfig, "scale."),
    "sweep": ("What `ray-userrep sweep` takes besides", SweepConfig, ""),
    "recommend": ("What `ray-userrep recommend` takes besides", RecommendConfig, ""),
    "index": ("What `ray-userrep index` takes", IndexConfig, ""),
    "serve": ("What `ray-userrep serve` takes", ServeConfig, "serve."),
    "plan": ("What `ray-userrep plan` takes besides", PlanConfig, "plan."),
    "synthesize": ("What `ray-userrep synthesize` takes", SyntheticConfig, ""),
}


def fields_page() -> str:
    """All sections as Markdown."""
    short = ", ".join(f"`--{alias}` for `--{path}`" for alias, path in ALIASES.items())
    parts = [f"{INTRODUCTION}Short names: {short}.", "## recipe", told(Recipe), *table(Recipe, "")]
    for name, info in Recipe.model_fields.items():
        if kinds_of(info):
            parts += ["", f"## {name}", *section(info, f"{name}.")]
    for title, model, prefix in ALSO.values():
        parts += ["", f"## {title}", told(model), *table(model, prefix)]
    return "\n".join(parts) + "\n"


def section(info: FieldInfo, prefix: str) -> Iterator[str]:
    """A part of the recipe: its own fields, or those of each kind that it may be, then the parts inside it."""
    models = kinds_of(info)
    for model in models:
        if len(models) > 1:
            yield f"\n### {prefix}{tag(model)} = {model.model_fields[tag(model)].default}\n"
        yield from [told(model), *table(model, prefix)]
    inner = {name: field for model in models for name, field in model.model_fields.items() if kinds_of(field)}
    for name, field in inner.items():
        yield "" if len(kinds_of(field)) > 1 else f"\n### {prefix.rstrip('.')}.{name}\n"
        yield from section(field, f"{prefix}{name}.")


def table(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A row a field that is no part of its own."""
    rows = [row(prefix + name, info) for name, info in model.model_fields.items() if not kinds_of(info)]
    if rows:
        yield from ["", "| field | takes | default | |", "|---|---|---|---|", *rows, ""]


def row(path: str, info: FieldInfo) -> str:
    told = "which kind of part it is" if path.rsplit(".", 1)[-1] in TAGS else info.description or ""
    return f"| `{path}` | {cell(type_of([info]))} | {cell(default(info))} | {cell(told)} |"


def default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        if value and isinstance(value[0], BaseModel):
            return ", ".join(type(one).__name__.removesuffix("Config") for one in value)
        return ", ".join(str(one) for one in value) or "empty"
    return "empty" if value == {} else str(value).lower() if isinstance(value, bool) else str(value)


def told(model: type[BaseModel]) -> str:
    """What a part is, from its docstring."""
    return "\n" + re.sub(r"\s+", " ", (model.__doc__ or "").strip()) + "\n"


def tag(model: type[BaseModel]) -> str:
    return next(name for name in TAGS if name in model.model_fields)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
