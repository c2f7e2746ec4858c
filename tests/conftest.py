"""What all tests share: one object store and one Ray a session, and the places of sample data.

Tests of an object store belong to the lane of whole systems (`make system`). There the store is started before Ray, so
that Ray's workers inherit the variables that name it.
"""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
STORE = ROOT / "cluster" / "object_store.sh"

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

settings.register_profile("any machine", deadline=None)  # a busy one is slow now and then
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        if "s3_uri" in item.fixturenames:
            item.add_marker("system")


def _store(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([str(STORE), command, str(folder)], env=env, capture_output=True, text=True)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The endpoint of a running S3 whose variables are in the environment; None where none can be had."""
    folder = tmp_path_factory.mktemp("object_store")
    started = _store("start", folder)
    if started.returncode != 0:
        yield None
        return
    lines = (shlex.split(line) for line in started.stdout.splitlines())
    os.environ.update(words[1].split("=", 1) for words in lines if words[:1] == ["export"])
    yield os.environ["AWS_ENDPOINT_URL"]
    _store("stop", folder)


@pytest.fixture
def s3_uri(s3: str | None) -> str:
    """A fresh, empty bucket."""
    if s3 is None:
        pytest.skip("no object store: install radosgw or moto, or name one with AWS_ENDPOINT_URL")
    from botocore.session import get_session

    bucket = f"test-{uuid.uuid4().hex[:16]}"
    get_session().create_client("s3", endpoint_url=s3).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def ray_session(request: pytest.FixtureRequest) -> Iterator[None]:
    """A small local Ray, quiet."""
    if any(item.get_closest_marker("system") for item in request.session.items):
        request.getfixturevalue("s3")
    import ray
    import ray.data

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of public samples that are not shipped here."""
    folder = Path(os.environ.get("RAY_USERREP_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no sample data in {folder}: name the folder with RAY_USERREP_DATA")
    return folder
