"""What the guide says to type is what the jobs take, and the files that it names are there."""

import re
import shlex
from pathlib import Path

import pytest

from ray_userrep.command import read
from ray_userrep.jobs import job_named

CLUSTER = Path(__file__).parents[2] / "cluster"
GUIDE = (CLUSTER / "README.md").read_text()
COMMANDS = re.findall(r"python (jobs/\S+\.py)(.*)", GUIDE.replace("\\\n", " "))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(" ".join(command).split()))
def test_a_job_takes_the_fields_that_the_guide_sets(command):
    job, rest = command
    assert (CLUSTER.parent / job).is_file()
    given = read(job_named(Path(job).stem), shlex.split(rest))
    assert given.recipe.run is None or given.recipe.run.startswith("s3://")


def test_the_guide_shows_the_whole_way_and_names_files_that_are_there():
    assert {job for job, _ in COMMANDS} == {"jobs/prepare.py", "jobs/pretrain.py", "jobs/scale.py"}
    named = set(re.findall(r"cluster/([\w./-]+\.(?:yaml|sh|py)|Dockerfile)", GUIDE))
    assert {"aws.yaml", "object_store.sh", "autoscaling.py", "Dockerfile"} <= named
    assert all((CLUSTER / name).is_file() for name in named)
