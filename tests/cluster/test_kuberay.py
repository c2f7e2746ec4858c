"""The manifests are what KubeRay and Kubernetes take, and what Ray's autoscaler reads out of them."""

import copy

import pytest
import yaml
from lightkube.models.core_v1 import ServiceAccount
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve.schema import ServeDeploySchema

from ray_userrep.endpoint import deployment
from ray_userrep.recipe.fields import config_of
from ray_userrep.recipe.serve import ServeConfig
from tests.cluster.conftest import CLUSTER
from tests.cluster.manifests import RayCluster, RayJob, RayService, read

GPU = "nvidia.com/gpu"


@pytest.fixture
def cluster(filled):
    return copy.deepcopy(filled("kuberay/cluster.yaml"))


def test_the_manifests_are_read_whole(filled, cluster):
    read(cluster, RayCluster)
    read(filled("kuberay/job.yaml"), RayJob)
    account = read(filled("kuberay/account.yaml"), ServiceAccount)
    pods = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    assert {pod["template"]["spec"]["serviceAccountName"] for pod in pods} == {account.metadata.name}


HEAD, WORKERS = ("spec", "headGroupSpec"), ("spec", "workerGroupSpecs")
CONTAINER = ("template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("place", "key", "value", "said"),
    [
        (("spec",), "enableInTreeAutoscalng", True, "unknown field `enableInTreeAutoscalng`"),
        (("spec",), "rayVersion", 2.6, "Expected `str"),
        (("spec", "autoscalerOptions"), "upscalingMode", "Fast", "Invalid enum value 'Fast'"),
        ((*HEAD, "rayStartParams"), "num-cpus", 0, "Expected `str`, got `int`"),
        ((*HEAD, *CONTAINER), "imagee", "x", r"containers\[0\].imagee"),
        ((*HEAD, *CONTAINER, "ports", 0), "containerPort", "80", "Expected `int`, got `str`"),
        ((*WORKERS, 1), "minReplica", 0, "unknown field `minReplica`"),
        ((*WORKERS, 1, "template", "spec", "tolerations", 0), "efect", "x", r"tolerations\[0\].efect"),
    ],
)
def test_a_slip_in_them_would_be_seen(cluster, place, key, value, said):
    part = cluster
    for name in place:
        part = part[name]
    part[key] = value
    with pytest.raises(ValueError, match=said):
        read(cluster, RayCluster)


def test_a_group_without_its_bounds_would_be_seen(cluster):
    del cluster["spec"]["workerGroupSpecs"][0]["maxReplicas"]
    with pytest.raises(ValueError, match="missing required field `maxReplicas`"):
        read(cluster, RayCluster)


def test_the_job_s_cluster_is_the_cluster(filled, cluster):
    assert filled("kuberay/job.yaml")["spec"]["rayClusterSpec"] == cluster["spec"]


def test_the_service_s_pods_are_the_cluster_s_with_a_token_and_a_port(filled, cluster):
    service = read(filled("kuberay/service.yaml"), RayService)
    pods = filled("kuberay/service.yaml")["spec"]["rayClusterConfig"]
    head, worker = pods["headGroupSpec"], pods["workerGroupSpecs"][0]
    for group in (head, worker):
        given = group["template"]["spec"]["containers"][0]["env"].pop()
        assert given["name"] == "RAY_USERREP_TOKEN" and given["valueFrom"]["secretKeyRef"]["key"] == "token"
    port = head["template"]["spec"]["containers"][0]["ports"].pop()
    assert head == cluster["spec"]["headGroupSpec"]
    assert worker["template"] == cluster["spec"]["workerGroupSpecs"][0]["template"]
    config = ServeDeploySchema.model_validate(yaml.safe_load(service.spec.serveConfigV2))
    assert config.http_options.port == port["containerPort"]
    assert config.applications[0].import_path == f"{deployment.__name__}:{deployment.build.__name__}"
    fields = {name: str(value) for name, value in config.applications[0].args.items() if name != "encoder"}
    assert config_of(fields, ServeConfig).max_replicas == 8


def test_ray_s_autoscaler_reads_two_groups_that_grow_from_nothing(cluster):
    cluster["metadata"]["namespace"] = "default"
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    types = config["available_node_types"]
    assert cluster["spec"]["enableInTreeAutoscaling"] and config["idle_timeout_minutes"] == 5
    assert types["headgroup"]["resources"]["CPU"] == 0 and types["headgroup"]["max_workers"] == 0
    assert types["cpu"]["resources"]["CPU"] == 15 and "GPU" not in types["cpu"]["resources"]
    assert types["gpu"]["resources"]["CPU"] == 7 and types["gpu"]["resources"]["GPU"] == 1
    assert all(types[name]["min_workers"] == 0 < types[name]["max_workers"] for name in ("cpu", "gpu"))


def pods(filled):
    """The specs of all pods, those that submit jobs too."""
    job, service = filled("kuberay/job.yaml")["spec"], filled("kuberay/service.yaml")["spec"]
    for spec in (filled("kuberay/cluster.yaml")["spec"], job["rayClusterSpec"], service["rayClusterConfig"]):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            yield group["template"]["spec"]
    yield job["submitterPodTemplate"]["spec"]


def test_pods_run_as_nobody_in_particular_and_gain_nothing(filled):
    for pod in pods(filled):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            bounds = container["securityContext"]
            assert bounds == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    scaler = filled("kuberay/cluster.yaml")["spec"]["autoscalerOptions"]
    assert scaler["securityContext"] == bounds


def test_disks_and_times_are_bounded(filled):
    for pod in pods(filled):
        for container in pod["containers"]:
            for kind in ("requests", "limits"):
                assert container["resources"][kind]["ephemeral-storage"].endswith("Gi")
    spec = read(filled("kuberay/job.yaml"), RayJob).spec
    assert spec.activeDeadlineSeconds and spec.activeDeadlineSeconds > 86_400 and spec.shutdownAfterJobFinishes


def test_the_endpoint_outlives_its_head(filled):
    service = read(filled("kuberay/service.yaml"), RayService)
    options = service.spec.rayClusterConfig.gcsFaultToleranceOptions
    assert options and options.redisAddress == "redis.example:6379"
    assert options.redisPassword and options.redisPassword.value is None, "a password is no part of a manifest"
    assert options.redisPassword.valueFrom and options.redisPassword.valueFrom.secretKeyRef
    guide = (CLUSTER / "README.md").read_text()
    assert f"create secret generic {options.redisPassword.valueFrom.secretKeyRef.name}" in guide


def test_pods_ask_for_what_they_are_bounded_by(cluster):
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]
    gpu = cluster["spec"]["workerGroupSpecs"][1]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"][GPU] == "1"
    assert gpu["nodeSelector"] == {"eks.amazonaws.com/capacityType": "SPOT"} and gpu["tolerations"][0]["key"] == GPU
