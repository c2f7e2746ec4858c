"""The groups serve what jobs ask for, as Ray's autoscaler decides: work without GPUs on CPU nodes, training on GPUs."""

import shlex
from functools import partial

import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for

from ray_userrep.command import parse
from ray_userrep.recipe.scale import ScaleConfig

SCORER = partial(_default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({}))


@pytest.fixture(params=["aws", "kuberay"])
def config(filled, request):
    if request.param == "aws":
        return filled("aws.yaml")
    manifest = filled("kuberay/cluster.yaml")
    return _derive_autoscaling_config_from_ray_cr(manifest | {"metadata": {"name": "userrep", "namespace": "default"}})


def brought(config, demands):
    """The nodes that are started for demands at once; all of them are met."""
    types, head = config["available_node_types"], config["head_node_type"]
    nodes, unmet = get_nodes_for(types, {head: 1}, head, config["max_workers"], demands, SCORER)
    assert unmet == []
    return dict(nodes)


def test_preparing_brings_cpu_nodes_only(config):
    cores = config["available_node_types"]["cpu"]["resources"]["CPU"]
    assert brought(config, [{"CPU": 1}] * 100) == {"cpu": -(-100 // cores)}


def test_the_workers_of_the_job_that_is_shown_each_get_a_gpu_node(config, filled):
    command = shlex.split(filled("kuberay/job.yaml")["spec"]["entrypoint"])
    assert command[:2] == ["python", "/opt/ray_userrep/jobs/pretrain.py"]
    train = parse(command[2:]).train
    assert train.use_gpu and train.cpus_per_worker
    assert brought(config, [{"CPU": train.cpus_per_worker, "GPU": 1}] * train.num_workers) == {"gpu": train.num_workers}


def test_points_of_a_sweep_share_gpus(config):
    shown = ScaleConfig(gpus_per_run=0.25, cpus_per_run=1)
    assert brought(config, [{"CPU": shown.cpus_per_run, "GPU": shown.gpus_per_run}] * 12) == {"gpu": 3}
