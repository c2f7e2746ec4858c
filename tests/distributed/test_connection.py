"""Which Ray a job joins where none is named."""

import socket
from pathlib import Path

import pytest

from ray_userrep.distributed.connection import running_here


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file in which Ray keeps the address of what was started here."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_a_ray_that_answers_is_joined_and_one_that_is_gone_is_not_waited_for(named):
    assert running_here() == "local"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        named.write_text(address)
        assert running_here() == address
    assert running_here() == "local"


def test_a_file_that_names_no_address_is_passed_over(named):
    named.write_text("")
    assert running_here() == "local"
