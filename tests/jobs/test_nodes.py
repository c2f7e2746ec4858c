"""The pretraining job, as it is by default, on a cluster of two nodes of one core each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ray_userrep import storage
from tests.jobs.test_pretrain import write_log

JOB = Path(__file__).parents[2] / "jobs" / "pretrain.py"
SHORT = ["--train.max_steps", "6", "--evaluation.num_bootstrap", "100", "--evaluation.baselines", "false"]

pytestmark = pytest.mark.system


@pytest.fixture
def address(s3: str | None) -> Iterator[str]:
    """Two nodes, whose processes inherit the variables that name the object store."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(5):  # Ray gives a node half a minute to start, which is short on a busy machine
        with suppress(Exception):
            cluster.add_node(num_cpus=1)
            break
    yield cluster.address
    cluster.shutdown()


def pretrain(address: str, place: str, run: str, *more: str) -> "subprocess.CompletedProcess[str]":
    places = ["--logs", f"{place}/log", "--corpus", f"{place}/corpus", "--run", f"{place}/{run}"]
    command = [sys.executable, str(JOB), *places, *SHORT, *more]
    return subprocess.run(command, env=os.environ | {"RAY_ADDRESS": address}, capture_output=True, text=True)


def test_the_default_job_trains_to_its_end_and_what_no_node_holds_is_refused(s3_uri: str, address: str) -> None:
    write_log(s3_uri)
    done = pretrain(address, s3_uri, "default")
    assert done.returncode == 0, done.stderr[-3000:]
    assert storage.read_json(f"{s3_uri}/default/result.json")["counts"]["users"] == 90
    refused = pretrain(address, s3_uri, "refused", "--train.cpus_per_worker", "2")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "error: train.cpus_per_worker is 2, but no node has more than 1 cores: take fewer"
    )
