"""The image is built from what is there, with the versions that are tested."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ray_userrep import __version__

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster" / "Dockerfile").read_text()
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def steps() -> list[tuple[str, str]]:
    """Instruction and the rest of each step, comments left out and broken lines joined."""
    lines = "\n".join(line for line in TEXT.splitlines() if line and not line.startswith("#"))
    return [tuple(line.split(maxsplit=1)) for line in lines.replace("\\\n", " ").splitlines()]  # type: ignore[misc]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in steps() if instruction == name]


def copied() -> list[str]:
    return [source for rest in arguments("COPY") for source in rest.split()[:-1]]


def test_what_is_copied_is_in_the_repository():
    kept = subprocess.run(["git", "ls-files", *copied()], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for source in copied():
        assert source in kept.splitlines() or f"\n{source}/" in f"\n{kept}", f"{source} is not in the repository"


def test_python_is_one_that_the_project_takes_and_the_tests_run_on():
    assert arguments("FROM") == ["${BASE}"]
    (base,) = [rest.removeprefix("BASE=") for rest in arguments("ARG") if rest.startswith("BASE=")]
    version = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", base)
    assert version and PROJECT["requires-python"] == f">={version[1]}"


def test_torch_is_installed_first_and_alone_and_everything_else_is_pinned():
    first, *others = [rest for rest in arguments("RUN") if rest.startswith("pip install")]
    assert "'^torch==' constraints.txt" in first and "torch" in PINNED
    assert others and all("--constraint constraints.txt" in rest for rest in others)
    named = [word for rest in others for word in shlex.split(rest)[2:] if re.fullmatch(r"[a-z][\w-]*(\[.*\])?", word)]
    assert named == ["boto3"] and set(named) <= PINNED.keys()
    extras = re.findall(r"'\.\[(.*)\]'", " ".join(others))[0].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()


def test_manifests_name_the_image_and_the_ray_of_this_version(filled):
    cluster = filled("kuberay/cluster.yaml")
    assert cluster["spec"]["rayVersion"] == PINNED["ray"]
    images = {filled("aws.yaml")["docker"]["image"]}
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        images |= {one["image"] for one in group["template"]["spec"]["containers"]}
    assert [image.rpartition("/")[2] for image in images] == [f"ray-userrep:{__version__}"]
    entrypoint = filled("kuberay/job.yaml")["spec"]["entrypoint"].split()[1]
    place, home = arguments("WORKDIR")
    job = Path(entrypoint).relative_to(place)
    assert (ROOT / job).is_file() and job.parts[0] in copied()
    token = next(iter(filled("aws.yaml")["file_mounts"]))
    assert token.startswith(f"{home}/")


def test_what_runs_has_a_folder_that_it_may_write_into():
    names = [instruction for instruction, _ in steps()]
    (user,) = arguments("USER")
    assert any(f"--create-home --uid 1000 {user}" in rest for rest in arguments("RUN"))
    assert names[-2:] == ["USER", "WORKDIR"] and arguments("WORKDIR")[-1] == f"/home/{user}"


def test_the_package_builds_from_what_is_copied_before_it_is_installed(tmp_path):
    before = TEXT[: TEXT.index("'.[")]
    names = [source for rest in re.findall(r"^COPY (.*)$", before, re.M) for source in rest.split()[:-1]]
    for name in names:
        here = ROOT / name
        copy = shutil.copytree if here.is_dir() else shutil.copy
        copy(here, tmp_path / name)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"ray_userrep-{__version__}")


@pytest.mark.parametrize("word", ["ACCOUNT_ID", "REGION", "AMI_ID", "BUCKET", "REDIS_HOST"])
def test_the_guide_fills_in_every_word_in_capitals(word):
    guide = (ROOT / "cluster" / "README.md").read_text()
    files = [path for path in (ROOT / "cluster").rglob("*") if path.suffix in (".yaml", ".json")]
    used = [path for path in files if word in path.read_text()]
    assert used and f"s/{word}/$" in guide
