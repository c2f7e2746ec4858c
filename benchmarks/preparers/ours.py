"""Our side: the log as any user has it prepared, without Ray or on local nodes of Ray that share the cores."""

import logging
import os
import time

import ray
from preparers.job import Job, answer, job

from ray_userrep.logs.source import open_logs
from ray_userrep.prepare.prepare import prepare
from ray_userrep.recipe.corpus import CorpusConfig
from ray_userrep.recipe.logs import LogsConfig


def main(given: Job) -> None:
    began = time.perf_counter()
    if given.nodes:
        _start(given)
    else:
        os.environ["RAY_ADDRESS"] = "local"  # whatever else runs here
    started = time.perf_counter()
    columns = {"user_id": "user", "item_id": "item", "timestamp": "time"}
    logs = open_logs(LogsConfig(uri=given.log, columns=columns, timestamp_unit="us"))
    config = CorpusConfig(num_buckets=given.buckets, max_user_interactions=given.cap)
    manifest = prepare(logs, config, given.output)
    done = time.perf_counter()
    ray.shutdown()
    of_ray = {"ray_start_seconds": started - began, "prepare_seconds": done - started} if given.nodes else {}
    answer(
        interactions=manifest.num_interactions,
        users=manifest.num_users,
        items=manifest.num_items,
        rejected=sum(manifest.quarantined.values()),
        days=len(manifest.interactions_per_day),
        **of_ray,
        task_peak_bytes=manifest.peak_bytes,
    )


def _start(given: Job) -> None:
    """Nodes with an object store of a fixed size each, and the cores dealt out among them."""
    shares = [given.threads // given.nodes + (node < given.threads % given.nodes) for node in range(given.nodes)]
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if given.nodes == 1:
        memory = given.object_store_bytes
        ray.init("local", num_cpus=given.threads, object_store_memory=memory, include_dashboard=False, **quiet)
    else:
        from ray.cluster_utils import Cluster  # takes long to import

        cluster = Cluster()
        for share in shares:
            cluster.add_node(num_cpus=max(share, 1), object_store_memory=given.object_store_bytes)
        ray.init(address=cluster.address, **quiet)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main(job())
