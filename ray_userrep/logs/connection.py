"""Connecting a job to Ray, and what a local path means on a cluster of several nodes.

The cluster is the one that the job was submitted to, or one started here for as long as the job runs. To start one
takes seconds: a job that joins none and needs none is alone, and does its work itself.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import ray
from ray._private import ray_constants
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
from ray._private.utils import get_num_cpus
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_userrep import storage
from ray_userrep.errors import UserError

Loaded = TypeVar("Loaded")
_is_own = False


def connect() -> None:
    """Join the cluster named by the environment or running here, else start Ray here; a second call does nothing.

    `RAY_ADDRESS=local` starts one whatever runs. One that is started here listens on 127.0.0.1 alone, and asks for a
    token of its own, as Ray does since 2.60.
    """
    global _is_own
    if ray.is_initialized():
        return
    _suit_stores()
    address = _address()
    terminate = signal.getsignal(signal.SIGTERM)
    with _on_loopback() if address == "local" else nullcontext():
        # A dashboard is only worth its start-up time on a cluster that stays.
        ray.init(address=address, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    _is_own = address == "local"
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray puts its own there, which ends without a word
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A stage says in one line what it did; a task's error comes out as itself.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def join() -> None:
    """Join the cluster named by the environment or running here; where there is none, none is started."""
    _suit_stores()
    if _address() != "local":
        connect()


def _suit_stores() -> None:
    # Object-store look-alikes refuse the checksums that newer S3 clients add; workers inherit the driver's choice.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or running_here()  # a submitted job is told its cluster


def connected_meanwhile(load: Callable[[], Loaded], connecting: Callable[[], None] = connect) -> Loaded:
    """What `load` gives, which a thread imports while this one connects: to start Ray is to wait for its processes.

    Not the other way round: what a thread has started the system ends with the thread.
    """
    with ThreadPoolExecutor(1, "imports") as thread:
        loaded = thread.submit(load)
        connecting()
        return loaded.result()


def is_alone() -> bool:
    """Whether no other job is on what this one works with: it has joined no Ray but one that it started itself."""
    return _is_own or not ray.is_initialized()


def nodes() -> list[dict[str, float]]:
    """What each node has, by Ray's names of it; of this machine, as Ray would count it, where none was joined."""
    if ray.is_initialized():
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = int(get_num_cpus(override_docker_cpu_warning=True))  # of a container, where it may use only some
    here: dict[str, float] = ResourceAndLabelSpec(num_cpus=cores).resolve(is_head=True).to_resource_dict()
    return [here]


def num_gpus() -> int:
    """How many GPUs the nodes have that there are now."""
    return int(sum(node.get("GPU", 0) for node in nodes()))


@contextmanager
def _on_loopback() -> Iterator[None]:
    """What Ray starts meanwhile listens on 127.0.0.1 alone: its own switch for machines that are no cluster.

    The processes inherit it, this one must not keep it: it may join another cluster later.
    """
    name, was = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[name]
        ray_constants.ENABLE_RAY_CLUSTER = was


def running_here() -> str:
    """The Ray that was started on this machine where it still answers, else `local`: a new one.

    The file that names it outlives it, and Ray itself waits many minutes for one that is gone.
    """
    named = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    if not named.is_file():
        return "local"
    address = named.read_text().strip()
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError):
        return "local"
    return address


def here() -> NodeAffinitySchedulingStrategy:
    """The driver's node: what is placed there is lost only with the driver."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def refuse_unshared(uri: str, what: str = "corpus", option: str = "--corpus") -> None:
    """Refuse a local folder where other nodes than the driver's do the work: each would write into a folder of its own.

    A head without cores leaves all work to nodes that may be still to come.

    Raises:
        UserError: that is the case.
    """
    if not ray.is_initialized():
        return
    working = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0}
    own = {ray.get_runtime_context().get_node_id()}
    if storage.is_local(uri) and working != own:
        nodes = f"{len(working | own)} nodes" if working else "nodes that are started when there is work,"
        raise UserError(
            f"{what} folder {uri} is a local path, but the cluster has {nodes} that cannot all see it: "
            f"name a shared place with {option}, such as s3://bucket/{what}s/name"
        )
