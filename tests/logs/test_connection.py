"""Which Ray a job joins where none is named, and local paths on a cluster of several nodes."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connected_meanwhile, refuse_unshared, running_here


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


def node(name, cores, alive=True):
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": float(cores)} if cores else {}}


@pytest.fixture
def cluster(ray_session, monkeypatch):
    """Lays out nodes around the driver's own, which has some cores."""

    def lay_out(own_cores, *others):
        own = node(ray.get_runtime_context().get_node_id(), own_cores)
        monkeypatch.setattr(ray, "nodes", lambda: [own, *others])

    return lay_out


def test_the_driver_s_own_node_may_write_to_its_disk(cluster):
    refuse_unshared("/data/run")
    cluster(4, node("lost", 4, alive=False), node("helper", 0))
    refuse_unshared("/data/run")


@pytest.mark.parametrize(
    ("own_cores", "others", "said"),
    [
        (4, [node("a", 4)], "the cluster has 2 nodes that cannot all see it"),
        (0, [node("a", 4)], "the cluster has 2 nodes that"),
        (0, [], "nodes that are started when there is work"),
    ],
)
def test_a_local_path_is_refused_where_others_work(cluster, own_cores, others, said):
    cluster(own_cores, *others)
    with pytest.raises(UserError, match=f"run folder /data/run is a local path.*{said}.*--run"):
        refuse_unshared("/data/run", "run", "--run")
    refuse_unshared("s3://bucket/run")


LISTENERS = """
import psutil, ray
from ray_userrep.logs.connection import connect
connect()
ray.get(ray.remote(lambda: None).remote())
this = psutil.Process()
found = [c for p in (this, *this.children(recursive=True)) for c in p.net_connections("inet") if c.status == "LISTEN"]
print(sorted({c.laddr.ip.removeprefix("::ffff:") for c in found}))
"""


@pytest.mark.system
def test_a_ray_that_a_job_starts_listens_here_alone():
    environment = os.environ | {"RAY_ADDRESS": "local"}
    run = subprocess.run([sys.executable, "-c", LISTENERS], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['127.0.0.1']"


def test_a_job_s_imports_are_loaded_by_a_thread_while_ray_starts(ray_session):
    assert connected_meanwhile(threading.current_thread) is not threading.current_thread()
    with pytest.raises(UserError, match="nothing to load"):
        connected_meanwhile(_refused)


def _refused() -> None:
    raise UserError("nothing to load")
