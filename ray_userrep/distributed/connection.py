"""Connecting a job to Ray: the cluster it was submitted to, or one started here for as long as it runs."""

import logging
import os
import socket
from pathlib import Path

import ray


def connect() -> None:
    """Join the cluster named by the environment or running here, else start Ray here; a second call does nothing.

    `RAY_ADDRESS=local` starts one whatever runs.
    """
    if ray.is_initialized():
        return
    # Object-store look-alikes refuse the checksums that newer S3 clients add; workers inherit the driver's choice.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    # A submitted job is told its cluster; a dashboard is only worth its start-up time on a cluster that stays.
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        ray.init(address=running_here(), include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    else:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A stage says in one line what it did; a task's error comes out as itself.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


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
