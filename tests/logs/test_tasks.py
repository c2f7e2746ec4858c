"""Tasks that belong together end together: nothing is written behind a job that failed or was stopped."""

import os
import threading
import time
from pathlib import Path

import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import results

pytestmark = pytest.mark.usefixtures("ray_session")


@ray.remote(num_cpus=0, max_retries=0)
def fails_when_the_other_runs(folder: Path) -> None:
    while not (folder / "pid").exists():
        time.sleep(0.01)
    raise UserError("no more")


@ray.remote(num_cpus=0)
def runs_for_ever(folder: Path) -> None:
    (folder / "begun").write_text(str(os.getpid()))
    (folder / "begun").rename(folder / "pid")
    while True:
        time.sleep(0.01)


@ray.remote(num_cpus=0)
def returns(value: int) -> int:
    return value


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert results([returns.remote(value) for value in (3, 1, 2)]) == [3, 1, 2] and results([]) == []


def test_where_one_fails_the_others_have_ended(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no more"):
        results([runs_for_ever.remote(tmp_path), fails_when_the_other_runs.remote(tmp_path)])
    deadline = time.monotonic() + 20
    while is_alive(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
