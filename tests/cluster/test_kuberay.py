"""`cluster/kuberay.yaml` and the image that it starts, without Kubernetes: names and types, and what must agree."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from dvq_ray.sweep.spec import load_sweep
from tests.cluster.cluster_file import load
from tests.cluster.rayjob import problems
from tests.cluster.test_gpu_file import ON_GPUS

FILE = Path("cluster/kuberay.yaml")
DOCKERFILE = Path("cluster/Dockerfile")


def _manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def _cluster(manifest: dict[str, Any]) -> dict[str, Any]:
    cluster: dict[str, Any] = manifest["spec"]["rayClusterSpec"]
    return cluster


def _containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [_cluster(manifest)["headGroupSpec"], *_cluster(manifest)["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_the_job_fits_the_schema() -> None:
    assert problems(_manifest()) == []


@pytest.mark.parametrize(
    ("break_it", "reported"),
    [
        (lambda job: job["spec"].update(shutdownAfterJobFinish=True), "$.spec: Additional properties"),
        (lambda job: job["spec"].update(backoffLimit="2"), "$.spec.backoffLimit: '2' is not of type"),
        (lambda job: _cluster(job)["autoscalerOptions"].update(version="v3"), "autoscalerOptions.version: 'v3'"),
        (lambda job: _cluster(job)["workerGroupSpecs"][0].update(maxReplica=8), "workerGroupSpecs[0]: Additional"),
        (lambda job: _containers(job)[1].update(envForm=[]), "containers[0]: Additional properties"),
        (lambda job: _containers(job)[1]["envFrom"][0].update(secret="x"), "envFrom[0]: Additional properties"),
        (lambda job: job.update(apiVersion="ray.io/v2"), "$.apiVersion: 'ray.io/v1' was expected"),
    ],
)
def test_what_kubernetes_would_drop_or_refuse_is_reported(
    break_it: Callable[[dict[str, Any]], object], reported: str
) -> None:
    manifest = copy.deepcopy(_manifest())
    break_it(manifest)
    assert any(reported in problem for problem in problems(manifest))


def test_gpus_come_and_go_with_the_work_and_nothing_stays() -> None:
    spec, cluster = _manifest()["spec"], _cluster(_manifest())
    (group,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (0, 0, load()["max_workers"])
    assert spec["shutdownAfterJobFinishes"] is True
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("sweep", ON_GPUS)
def test_a_trial_of_every_sweep_on_gpus_fits_a_pod(sweep: str) -> None:
    wanted = load_sweep(Path("sweeps") / sweep).resources
    limits = _containers(_manifest())[1]["resources"]["limits"]
    assert wanted.cpu <= int(limits["cpu"])
    assert wanted.gpu <= int(limits["nvidia.com/gpu"])


def test_pods_may_run_as_any_user_with_read_only_code() -> None:
    groups = [_cluster(_manifest())["headGroupSpec"], *_cluster(_manifest())["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
        for container in pod["containers"]:
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    home = _workdir().rpartition("/")[0]
    assert f"RUN chmod a+rx {home}\n" in DOCKERFILE.read_text()


def test_the_file_holds_no_secrets() -> None:
    for container in _containers(_manifest()):
        assert "env" not in container
        assert [*container["envFrom"][0]] == ["secretRef"]
    assert not re.search(r"AKIA|aws_secret_access_key\s*[:=]\s*\S", FILE.read_text())


def test_the_command_is_one_that_the_sweep_takes() -> None:
    words = shlex.split(_manifest()["spec"]["entrypoint"])
    sweep = words[words.index("dvq_ray.sweep") + 1]
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    spec = load_sweep(Path(sweep), overrides)
    assert spec.data["cifar10"].model_dump()["train"].startswith("s3://BUCKET/")
    assert f"cd {_workdir()}" in _manifest()["spec"]["entrypoint"]


def _workdir() -> str:
    (folder,) = re.findall(r"^WORKDIR (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return str(folder)


def test_the_image_has_the_pinned_ray_and_copies_what_there_is() -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", Path("constraints.txt").read_text(), re.MULTILINE)
    assert f"FROM rayproject/ray:{pinned}-py311-gpu\n" in DOCKERFILE.read_text()
    assert _cluster(_manifest())["rayVersion"] == pinned
    for sources in re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE):
        assert all(Path(source).exists() for source in sources.split())
