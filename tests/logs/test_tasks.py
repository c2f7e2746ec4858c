"""Tasks that belong together end together: nothing is written behind a job that failed or was stopped."""

import os
import threading
import time
from pathlib import Path

import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import results, run, shared


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has joined no Ray."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def returns_late(seconds: float, value: int) -> int:
    time.sleep(seconds)
    return value


@pytest.mark.parametrize("place", ["ray_session", "alone"])
def test_results_come_in_the_order_of_the_calls_and_are_taken_as_they_come(
    place: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(place)
    calls = [(returns_late, 0.2 * (value == 3), shared(value)) for value in (3, 1, 2)]
    taken: list[tuple[int, int]] = []
    run(calls, lambda number, value: taken.append((number, value)))
    assert results(calls) == [3, 1, 2] and sorted(taken) == [(0, 3), (1, 1), (2, 2)]
    assert results([]) == []


def fails_when_the_other_runs(folder: Path) -> None:
    while not (folder / "pid").exists():
        time.sleep(0.01)
    raise UserError("no more")


def runs_for_ever(folder: Path) -> None:
    (folder / "begun").write_text(str(os.getpid()))
    (folder / "begun").rename(folder / "pid")
    while True:
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_where_one_fails_the_workers_of_the_others_have_ended(ray_session: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no more"):
        results([(runs_for_ever, tmp_path), (fails_when_the_other_runs, tmp_path)])
    deadline = time.monotonic() + 20
    while is_alive(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_where_one_fails_the_threads_of_the_others_have_ended(alone: None) -> None:
    ended: list[int] = []

    def ends(number: int) -> None:
        time.sleep(0.1)
        ended.append(number)

    with pytest.raises(ZeroDivisionError):
        results([(lambda: 1 // 0,), (ends, 1), *[(ends, 2)] * 20])
    assert 1 in ended and len(ended) < 20  # what ran has ended, what waited was not begun
    before = len(ended)
    time.sleep(0.2)
    assert len(ended) == before
