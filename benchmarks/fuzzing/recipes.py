"""Recipes as hands mistype them: options of every job and recipe files, read up to where work would begin."""

import json
import random
from pathlib import Path
from typing import Any

from fuzzing.mutations import BYTES, ODD, swap_value
from fuzzing.outcomes import FINE, OTHER
from ray_userrep import recipes
from ray_userrep.command import Job, read
from ray_userrep.jobs import JOBS
from ray_userrep.recipe.fields import ALIASES, fields, validated
from ray_userrep.recipe.plan import PlanConfig
from ray_userrep.recipe.words import choices
from ray_userrep.workflows.plan import run_plan


def recipe_case(seed: int, scratch: Path, number: int) -> str:
    """What is accepted must be the same once stored and read again; a plan is also made."""
    rng = random.Random(f"recipes {seed} {number}")
    job = rng.choice(JOBS)
    words = _file(rng, scratch) if job.has_recipe and rng.random() < 0.4 else _options(rng, job)
    needed = [word for name in job.own for word in (f"--{name}", rng.choice(("place", "s3://bucket/place")))]
    given = read(job, [*([job.place] if job.place else []), *needed, *words], [one for one in JOBS if one is not job])
    if job.name == "plan":
        run_plan(given.recipe.model_copy(update={"run": None}), given.config_as(PlanConfig))
    return FINE if validated(json.loads(given.recipe.model_dump_json())) == given.recipe else OTHER


def _options(rng: random.Random, job: Job) -> list[str]:
    """Up to three fields with odd or fitting values, now and then with a name that is misspelt or given twice."""
    own = [] if job.config is None else [f"{job.prefix}{name}" for name in job.config.model_fields]
    known = own * 3 + ([*fields(), *ALIASES] if job.has_recipe else []) or ["seed"]
    words: list[str] = []
    if job.has_recipe and rng.random() < 0.5:
        words += ["--recipe", rng.choice(recipes.names())]
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(known)
        text = _text(rng) if rng.random() < 0.4 else _near(rng, name, job)
        if rng.random() < 0.05:
            name = BYTES[0](rng, name.encode()).decode(errors="surrogateescape")
        words += [f"--{name}={text}"] if rng.random() < 0.5 else [f"--{name}", text]
    return words + words[-2:] if rng.random() < 0.03 else words


def _near(rng: random.Random, name: str, job: Job) -> str:
    """A choice that the field has, or its default times a power of ten."""
    own = {} if job.config is None else {f"{job.prefix}{key}": [info] for key, info in job.config.model_fields.items()}
    infos = (own | fields()).get(ALIASES.get(name, name))
    if not infos:
        return _text(rng)
    values = [choice for info in infos for choice in choices(info.annotation)]
    default = rng.choice(infos).get_default(call_default_factory=True)
    if not values and isinstance(default, int | float) and not isinstance(default, bool):
        values = [type(default)(default * 10.0 ** rng.randint(-3, 9)), 1, 2, 0.5, 10**9]
    return str(rng.choice(values or [default, rng.choice(ODD)])).replace("'", '"')


def _text(rng: random.Random) -> str:
    """An odd value as it is typed: as JSON, as it stands, or with a byte changed."""
    value = rng.choice((*ODD, rng.choice(_choices())))
    text = value if isinstance(value, str) else json.dumps(value)
    drawn = rng.random()
    if drawn < 0.05:
        return text * rng.choice((2, 1000))
    if drawn < 0.2 and text:
        return rng.choice(BYTES)(rng, text.encode(errors="surrogatepass")).decode(errors="surrogateescape")
    return text


def _choices() -> list[Any]:
    """Defaults of all fields: fit where they come from, odd elsewhere."""
    found = [info.get_default(call_default_factory=True) for infos in fields().values() for info in infos[:1]]
    return [value for value in found if isinstance(value, str | int | float | bool | list)]


def _file(rng: random.Random, scratch: Path) -> list[str]:
    """A recipe file with values swapped, bytes changed, or nothing that a recipe has."""
    raw = recipes.recipe(rng.choice(recipes.names())).model_dump(mode="json")
    for _ in range(rng.randint(0, 3)):
        raw = swap_value(rng, raw)
    data = json.dumps(raw).encode(errors="surrogatepass")
    drawn = rng.random()
    if drawn < 0.3:
        data = rng.choice(BYTES)(rng, data)
    elif drawn < 0.35:
        data = rng.choice((b"[" * 10_000, b" " * 2**21, b"\xff\xfe" + data, b'{"a": 1, "a": 2}'))
    path = scratch / "recipe.json"
    path.write_bytes(data)
    return ["--recipe", str(path)]
