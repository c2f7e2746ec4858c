"""The launcher file is what Ray and EC2 take, and its nodes are what EC2 has."""

import copy
import gzip
import json
from pathlib import Path

import botocore.session
import jsonschema
import moto
import pytest
import ray.autoscaler
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
MACHINES = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"


@pytest.fixture
def launcher(filled):
    return copy.deepcopy(filled("aws.yaml"))


@pytest.fixture(scope="module")
def run_instances():
    """What EC2 takes to start a machine."""
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def test_the_launcher_file_follows_ray_s_schema(launcher):
    jsonschema.validate(launcher, SCHEMA)
    validate_config(prepare_config(launcher))
    assert launcher["head_node_type"] in launcher["available_node_types"]


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ((), "max_worker", 3),
        (("provider",), "type", 1),
        (("docker",), "imagee", "x"),
        (("available_node_types", "gpu"), "min_worker", 0),
        (("available_node_types", "gpu", "resources"), "GPU", "one"),
    ],
)
def test_a_slip_in_it_would_be_seen(launcher, place, key, value):
    part = launcher
    for name in place:
        part = part[name]
    part[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(launcher, SCHEMA)


def refusals(node_config, shape):
    report = ParamValidator().validate(node_config | {"MinCount": 1, "MaxCount": 1}, shape)
    options = node_config.get("InstanceMarketOptions", {"MarketType": "spot"})
    known = [
        node_config["InstanceType"] in shape.members["InstanceType"].enum,
        options["MarketType"] in shape.members["InstanceMarketOptions"].members["MarketType"].enum,
    ]
    return report.generate_report() + ("" if all(known) else "unknown type of machine or market")


def test_nodes_are_what_ec2_takes(launcher, run_instances):
    for node in launcher["available_node_types"].values():
        assert refusals(node["node_config"], run_instances) == ""
    config = launcher["available_node_types"]["gpu"]["node_config"]
    assert "Nam" in refusals(config | {"IamInstanceProfile": {"Nam": "x"}}, run_instances)
    assert "unknown" in refusals(config | {"InstanceType": "g6.3xlarge"}, run_instances)


def test_workers_promise_what_their_machines_have(launcher):
    machines = json.loads(gzip.decompress(MACHINES.read_bytes()))
    for name, node in launcher["available_node_types"].items():
        machine = machines[node["node_config"]["InstanceType"]]
        gpus = sum(gpu["Count"] for gpu in machine.get("GpuInfo", {}).get("Gpus", []))
        cores = machine["VCpuInfo"]["DefaultVCpus"] if name != launcher["head_node_type"] else 0
        assert node["resources"] == {"CPU": cores} | ({"GPU": gpus} if gpus else {})


def test_gpus_are_on_spot_and_s3_is_reached_without_keys(launcher):
    nodes = launcher["available_node_types"]
    spot = {name for name, node in nodes.items() if "InstanceMarketOptions" in node["node_config"]}
    assert spot == {"gpu"} == {name for name, node in nodes.items() if "GPU" in node["resources"]}
    assert all("IamInstanceProfile" in node["node_config"] for node in nodes.values())
    assert "AWS_SECRET_ACCESS_KEY" not in json.dumps(launcher)
    assert launcher["max_workers"] == sum(node["max_workers"] for node in nodes.values())


def test_jobs_without_a_place_keep_what_they_make_in_the_bucket(launcher, filled):
    assert "--env USERREP_HOME=s3://my-bucket/userrep" in launcher["docker"]["run_options"]
    spec = filled("kuberay/cluster.yaml")["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "USERREP_HOME", "value": "s3://my-bucket/userrep"}]
