"""Connecting a job to Ray: the cluster it was submitted to, or one started here for as long as it runs."""

import logging
import os

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
        ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    else:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A stage says in one line what it did; a task's error comes out as itself.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
