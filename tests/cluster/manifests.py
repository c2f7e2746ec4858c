"""What KubeRay and Kubernetes take: types that a manifest is read into, whole.

Pods and service accounts are of the Kubernetes API's own types, as the package lightkube-models brings them. Those of
ray.io/v1 are written down here by KubeRay 1.6's API reference, as far as the manifests use them; a field that is not
here is unknown.
"""

from typing import Any, Literal, TypeVar

import msgspec
from lightkube.models.core_v1 import EnvVarSource, PodTemplateSpec, ResourceRequirements, SecurityContext

Kind = TypeVar("Kind")


class Strict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Refuses fields that it does not know."""


class Metadata(Strict):
    name: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class AuthOptions(Strict):
    mode: Literal["disabled", "token"]


class Credential(Strict):
    value: str | None = None
    valueFrom: EnvVarSource | None = None


class GcsFaultToleranceOptions(Strict):
    redisAddress: str
    redisUsername: Credential | None = None
    redisPassword: Credential | None = None
    externalStorageNamespace: str | None = None


class AutoscalerOptions(Strict):
    idleTimeoutSeconds: int | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    resources: ResourceRequirements | None = None
    securityContext: SecurityContext | None = None


class HeadGroupSpec(Strict):
    template: PodTemplateSpec
    rayStartParams: dict[str, str] | None = None


class WorkerGroupSpec(Strict):
    groupName: str
    minReplicas: int
    maxReplicas: int
    template: PodTemplateSpec
    replicas: int | None = None
    rayStartParams: dict[str, str] | None = None


class RayClusterSpec(Strict):
    headGroupSpec: HeadGroupSpec
    workerGroupSpecs: list[WorkerGroupSpec] | None = None
    rayVersion: str | None = None
    authOptions: AuthOptions | None = None
    autoscalerOptions: AutoscalerOptions | None = None
    enableInTreeAutoscaling: bool | None = None
    gcsFaultToleranceOptions: GcsFaultToleranceOptions | None = None


class RayJobSpec(Strict):
    rayClusterSpec: RayClusterSpec
    entrypoint: str | None = None
    backoffLimit: int | None = None
    shutdownAfterJobFinishes: bool | None = None
    ttlSecondsAfterFinished: int | None = None
    activeDeadlineSeconds: int | None = None
    submitterPodTemplate: PodTemplateSpec | None = None


class RayServiceSpec(Strict):
    serveConfigV2: str
    rayClusterConfig: RayClusterSpec


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec


class RayService(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: Metadata
    spec: RayServiceSpec


def read(raw: dict[str, Any], kind: type[Kind]) -> Kind:
    """The manifest as its type.

    Raises:
        msgspec.ValidationError: a field is missing or of a wrong type, or one of ours is unknown.
        ValueError: a field of Kubernetes' own types is unknown.
    """
    read = msgspec.convert(raw, kind)
    kept = _without_none(msgspec.to_builtins(read))
    if kept != raw:
        raise ValueError(f"not all of it was read: {_first_difference(raw, kept)}")
    return read


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value


def _first_difference(raw: Any, kept: Any, where: str = "$") -> str:
    if isinstance(raw, dict) and isinstance(kept, dict):
        for key in raw:
            if key not in kept:
                return f"{where}.{key}"
            if raw[key] != kept[key]:
                return _first_difference(raw[key], kept[key], f"{where}.{key}")
    if isinstance(raw, list) and isinstance(kept, list):
        for number, (one, other) in enumerate(zip(raw, kept, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{where}[{number}]")
    return where
