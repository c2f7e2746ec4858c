"""Who holds a run folder: by time and by what is there, on a disk and on an object store."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.training import lease
from ray_userrep.training.lease import Lease

LEAVES_ITS_LEASE = "import os, sys; from ray_userrep.training.lease import Lease; Lease(sys.argv[1]).__enter__(); {}"

OWNER = {"id": "other", "host": "elsewhere", "machine": "another", "pid": 7, "started": "1", "life": 60.0}
NO_LEASES = [b"", b"{}", b"[]", b'{"id": "a', b"\xff\xfe{}", b"null", b'{"pid": 1}', b"[" * 99999]


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.system)])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = request.getfixturevalue("s3_uri") if request.param == "s3" else str(tmp_path)
    return f"{place}/run"


def held_by_another(run: str, age: float = 0.0, **fields: object) -> None:
    """Write the lease of a process elsewhere, with other fields, as of so many seconds ago."""
    storage.write_bytes(f"{run}/lease.json", json.dumps(OWNER | fields).encode())
    if age:
        os.utime(f"{run}/lease.json", (time.time() - age, time.time() - age))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + 20, threading.Event()
    while not is_so():
        assert time.monotonic() < deadline
        never.wait(0.01)


def test_one_process_has_a_run_until_it_leaves(run: str) -> None:
    with Lease(run):
        with pytest.raises(UserError, match=rf"in use by process {os.getpid()} on .*: wait for it"), Lease(run):
            pass
        assert storage.exists(f"{run}/lease.json")
    assert not storage.exists(f"{run}/lease.json")
    with Lease(run):
        pass


def test_a_process_of_this_machine_that_is_dead_holds_nothing(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    subprocess.run([sys.executable, "-c", LEAVES_ITS_LEASE.format("os._exit(1)"), run])
    assert storage.exists(f"{run}/lease.json")
    with Lease(run):
        pass


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["first", "own"])
def test_numbers_of_processes_alone_prove_nothing(run: str, pid: int) -> None:
    held_by_another(run, pid=pid)
    with pytest.raises(UserError, match=f"process {pid} on elsewhere"), Lease(run):
        pass
    held_by_another(run, pid=2**31 - 1)  # there is none of this number here
    with pytest.raises(UserError, match="on elsewhere"), Lease(run):
        pass
    held_by_another(run, machine=lease._machine(), pid=pid, started="0")  # the container before had this number, too
    with Lease(run):
        pass


def test_a_lease_ends_when_it_is_not_renewed_for_its_life(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    held_by_another(run, age=3500, life=3600.0)
    with pytest.raises(UserError, match=r"3500 s ago.*is free in 100 s"), Lease(run):
        pass
    for age in (61, -3600):  # also one of a clock that was ahead
        held_by_another(run, age=age)
        with Lease(run):
            pass


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"id": "a', b"\xff\xfe{}", b"null", b'{"pid": 1}', b"[" * 99999]
)
def test_what_is_no_lease_holds_nothing(run: str, content: bytes) -> None:
    storage.write_bytes(f"{run}/lease.json", content)
    with Lease(run), pytest.raises(UserError, match="in use"), Lease(run):
        pass


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A session in the background ignores SIGINT: a lease that is lost would end it with SIGTERM."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_whoever_lost_the_lease_stops_with_one_line(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_LIFE", 0.2)
    with pytest.raises(UserError, match=r"was taken by process \d+ on elsewhere, .*: this one stops"), Lease(run):
        held_by_another(run)
        threading.Event().wait(20)
        pytest.fail("it was not interrupted")
    assert json.loads(storage.read_bytes(f"{run}/lease.json"))["id"] == "other"


def test_a_lease_is_renewed_and_written_anew_where_it_was_deleted(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_LIFE", 0.2)
    with Lease(run):
        wait_until(lambda: b'"renewals":3' in storage.read_bytes(f"{run}/lease.json"))
        storage.delete(f"{run}/lease.json")
        wait_until(lambda: storage.exists(f"{run}/lease.json"))


def test_a_full_disk_at_a_renewal_is_one_line_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lease, "_LIFE", 0.1)
    run, replace, refused = str(tmp_path / "run"), os.replace, []

    def full(*names: object) -> None:
        refused.append(names)
        raise OSError(errno.ENOSPC, "No space left on device")

    with Lease(run):
        monkeypatch.setattr(os, "replace", full)
        wait_until(lambda: len(refused) > 2)
        monkeypatch.setattr(os, "replace", replace)
        before = storage.read_bytes(f"{run}/lease.json")
        wait_until(lambda: storage.read_bytes(f"{run}/lease.json") != before)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"warning   the lease of {run} cannot be renewed: ") and "the disk is full" in line
    assert not list((tmp_path / "run").iterdir())
