"""Help: short first, everything on request, types in words."""

import pytest

from ray_userrep.jobs import JOBS, job_named
from ray_userrep.recipe.fields import ALIASES, fields
from ray_userrep.usage import help_text


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_help_is_short_and_help_all_lists_every_field(job):
    short, every = help_text(job, every=False), help_text(job, every=True)
    assert all(len(line) <= 120 for text in (short, every) for line in text.splitlines() if line.startswith("  "))
    for name in job.own:
        assert f"--{name} URI" in short
    if job.has_recipe:
        assert len(short.splitlines()) < 90
        options = {word for word in every.split() if word.startswith("--")}
        tags = {path for path in fields() if path.rsplit(".", 1)[-1] in ("kind", "rule")} - {"train.schedule.kind"}
        missing = {f"--{path}" for path in fields()} - options - {f"--{path}" for path in tags} - {"--name"}
        assert not missing


def test_types_are_words():
    text = help_text(job_named("pretrain"), every=True)
    assert not {"Annotated", "Literal", "FieldInfo", "NoneType", "class"} & set(text.replace("[", " ").split())
    line = next(line for line in help_text(job_named("pretrain"), False).splitlines() if "--split.rule " in line)
    assert "leave_one_out | leave_k_out | global_time | cold_user | cold_item" in line
    assert all(f"--{alias} " in help_text(job_named("pretrain"), False) for alias in ALIASES)
