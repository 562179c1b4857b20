"""What Kubernetes would say of a RayJob, and more: unknown fields are errors, where the real thing drops them.

KubeRay's fields are as its API reference for ray.io/v1 has them; pod templates are checked against Kubernetes' own
schema, whose source SOURCES.md names. Where `DVQ_RAY_KUBERAY_CRDS` names a folder with KubeRay's own definitions,
`ray.io_rayjobs-1.5.1.yaml` and the like, `problems_by_crd` checks against these too.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

_PODS = Path(__file__).parent / "pod_template_v1.34.json.gz"

_TEXT = {"type": "string"}
_TRUTH = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _kubernetes(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/io.k8s.{name}"}


def _fields(*, required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": [*required], "additionalProperties": False}


_TEMPLATE = _kubernetes("api.core.v1.PodTemplateSpec")
_HEAD = _fields(
    required=("template",),
    template=_TEMPLATE,
    enableIngress=_TRUTH,
    rayStartParams=_TEXTS,
    resources=_TEXTS,
    labels=_TEXTS,
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
)
_WORKERS = _fields(
    required=("groupName", "template"),
    groupName=_TEXT,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    idleTimeoutSeconds=_COUNT,
    rayStartParams=_TEXTS,
    resources=_TEXTS,
    labels=_TEXTS,
    numOfHosts=_COUNT,
    suspend=_TRUTH,
    template=_TEMPLATE,
)
_AUTOSCALER = _fields(
    resources=_kubernetes("api.core.v1.ResourceRequirements"),
    image=_TEXT,
    imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    securityContext=_kubernetes("api.core.v1.SecurityContext"),
    idleTimeoutSeconds=_COUNT,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    version={"enum": ["v1", "v2"]},
    env={"type": "array", "items": _kubernetes("api.core.v1.EnvVar")},
    envFrom={"type": "array", "items": _kubernetes("api.core.v1.EnvFromSource")},
    volumeMounts={"type": "array", "items": _kubernetes("api.core.v1.VolumeMount")},
)
_CLUSTER = _fields(
    required=("headGroupSpec",),
    authOptions=_fields(mode={"enum": ["disabled", "token"]}),
    autoscalerOptions=_AUTOSCALER,
    enableInTreeAutoscaling=_TRUTH,
    headGroupSpec=_HEAD,
    headServiceAnnotations=_TEXTS,
    managedBy=_TEXT,
    rayVersion=_TEXT,
    suspend=_TRUTH,
    workerGroupSpecs={"type": "array", "items": _WORKERS},
)
_JOB = _fields(
    required=("entrypoint", "rayClusterSpec"),
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    backoffLimit=_COUNT,
    clusterSelector=_TEXTS,
    entrypoint=_TEXT,
    entrypointNumCpus=_NUMBER,
    entrypointNumGpus=_NUMBER,
    entrypointResources=_TEXT,
    jobId=_TEXT,
    managedBy=_TEXT,
    metadata=_TEXTS,
    rayClusterSpec=_CLUSTER,
    runtimeEnvYAML=_TEXT,
    shutdownAfterJobFinishes=_TRUTH,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    submitterConfig=_fields(backoffLimit=_COUNT),
    submitterPodTemplate=_TEMPLATE,
    suspend=_TRUTH,
    ttlSecondsAfterFinished=_COUNT,
)
_RAYJOB = _fields(
    required=("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_kubernetes("apimachinery.pkg.apis.meta.v1.ObjectMeta"),
    spec=_JOB,
)


@cache
def _checker() -> Any:
    schema = {**json.loads(gzip.decompress(_PODS.read_bytes())), **_RAYJOB}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def problems(manifest: Any) -> list[str]:
    """Each breach of the schema, with its place in the file."""
    return [f"{error.json_path}: {error.message}" for error in _checker().iter_errors(manifest)]


def crd(version: str) -> Path | None:
    """KubeRay's own definition of RayJob in this version; None where nobody has laid it down."""
    folder = os.environ.get("DVQ_RAY_KUBERAY_CRDS")
    found = Path(folder or "/nonexistent") / f"ray.io_rayjobs-{version}.yaml"
    return found if found.exists() else None


def problems_by_crd(manifest: Any, definition: Path) -> list[str]:
    """Each breach of the definition's v1 schema, unknown fields included, which Kubernetes would drop."""
    versions = yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1"]
    errors = jsonschema.Draft202012Validator(_strict(schema)).iter_errors(manifest)
    return [f"{error.json_path}: {error.message}" for error in errors]


def _strict(schema: Any) -> Any:
    """A Kubernetes schema in which fields that it does not name are errors."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict = {key: _strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
