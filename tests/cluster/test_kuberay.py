"""`cluster/kuberay.yaml` and the image that it starts, without Kubernetes: names and types, and what must agree."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.sweep.spec import load_sweep
from tests.cluster import submitter
from tests.cluster.cluster_file import load
from tests.cluster.rayjob import crd, problems, problems_by_crd
from tests.cluster.sweeps_on_gpus import on_gpus

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


def test_a_trial_of_every_sweep_on_gpus_fits_a_pod() -> None:
    limits = _containers(_manifest())[1]["resources"]["limits"]
    for name, wanted in on_gpus().items():
        assert wanted.cpu <= int(limits["cpu"]), name
        assert wanted.gpu <= int(limits["nvidia.com/gpu"]), name


def test_other_users_of_the_image_may_read_the_project() -> None:
    home = _workdir().rpartition("/")[0]
    assert f"RUN chmod a+rx {home}\n" in DOCKERFILE.read_text()


def test_the_file_holds_no_secrets() -> None:
    for container in _containers(_manifest()):
        assert not [variable for variable in container["env"] if variable["name"].startswith("AWS")]
        assert [*container["envFrom"][0]] == ["secretRef"]
    assert not re.search(r"AKIA|aws_secret_access_key\s*[:=]\s*\S", FILE.read_text())


def _entrypoint() -> str:
    return str(_manifest()["spec"]["entrypoint"])


@pytest.mark.parametrize("version", submitter.VERSIONS)
def test_the_submitter_sends_the_whole_sweep_to_the_cluster_and_runs_nothing_of_it(
    version: str, tmp_path: Path
) -> None:
    submission = submitter.run(_entrypoint(), version, tmp_path)
    assert submission.kinds == ["job status", "job submit", "job logs"]
    assert submission.entrypoint[0] == "exec"  # or the driver is an orphan where a stop ends its shell
    python, *words = submitter.run_by_supervisor(submission.entrypoint, tmp_path)
    assert (python, words[:2]) == ("python", ["-m", "dvq_ray.sweep"])
    parameters = sweep.make_context("sweep", words[2:]).params  # raises where the sweep does not know an option
    assert str(parameters["spec"]).startswith(f"{_workdir()}/sweeps/")  # a job begins in a folder of Ray's
    spec = load_sweep(Path(str(parameters["spec"]).removeprefix(f"{_workdir()}/")), parameters["overrides"])
    assert spec.data["cifar10"].model_dump()["train"].startswith("s3://BUCKET/")
    assert spec.resources.gpu
    assert parameters["results"] == "s3://BUCKET/results"
    assert 0 < parameters["time_budget"] < _manifest()["spec"]["activeDeadlineSeconds"]


@pytest.mark.parametrize("version", submitter.VERSIONS)
@pytest.mark.parametrize("entrypoint", ["cd /home/ray/dvq_ray && python -m dvq_ray.sweep a.yaml", "true; python x.py"])
def test_more_than_one_command_would_run_in_the_submitters_pod(version: str, entrypoint: str, tmp_path: Path) -> None:
    submission = submitter.run(entrypoint, version, tmp_path)
    assert "python" in submission.kinds
    assert "dvq_ray.sweep" not in submission.entrypoint


@pytest.mark.parametrize("version", submitter.VERSIONS)
def test_a_submitter_that_follows_another_one_submits_nothing_again(version: str, tmp_path: Path) -> None:
    submission = submitter.run(_entrypoint(), version, tmp_path, submitted=True)
    assert submission.kinds == ["job status", "job logs"]


def test_log_streams_may_break_and_no_exit_code_of_the_driver_begins_another_attempt() -> None:
    spec = _manifest()["spec"]
    assert spec["submitterConfig"]["backoffLimit"] >= 10
    assert spec["backoffLimit"] == 0
    assert "submissionMode" not in spec  # the submitter's string is that of the default


def _pods() -> list[dict[str, Any]]:
    groups = [_cluster(_manifest())["headGroupSpec"], *_cluster(_manifest())["workerGroupSpecs"]]
    return [*(group["template"] for group in groups), _manifest()["spec"]["submitterPodTemplate"]]


def test_every_container_meets_the_restricted_level_of_pod_security() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, and read-only code besides."""
    for pod in _pods():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] != 0
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {key for volume in pod["spec"]["volumes"] for key in volume} == {"name", "emptyDir"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & {*pod["spec"]}
    containers = [container for pod in _pods() for container in pod["spec"]["containers"]]
    for container in [*containers, _cluster(_manifest())["autoscalerOptions"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert {"name": "HOME", "value": "/tmp"} in container["env"]
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_no_autoscaler_of_kubernetes_moves_a_pod() -> None:
    for pod in _pods():
        assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_metrics_of_every_node_of_ray_are_found_and_those_of_the_submitter_are_not_looked_for() -> None:
    *nodes, submitters = _pods()
    for pod in nodes:
        assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8080"  # KubeRay's --metrics-export-port
    assert "prometheus.io/scrape" not in submitters["metadata"]["annotations"]


def test_a_stopped_job_has_time_for_checkpoints() -> None:
    (head, *_) = _containers(_manifest())
    wait = {variable["name"]: variable["value"] for variable in head["env"]}["RAY_JOB_STOP_WAIT_TIME_S"]
    assert int(wait) >= 60


@pytest.mark.parametrize("version", submitter.VERSIONS)
def test_kuberays_own_definition_accepts_the_job_and_no_other_field(version: str) -> None:
    definition = crd(version)
    if definition is None:
        pytest.skip("DVQ_RAY_KUBERAY_CRDS names no folder with KubeRay's definitions (tests/cluster/SOURCES.md)")
    assert problems_by_crd(_manifest(), definition) == []
    wrong = _manifest()
    wrong["spec"]["submiterConfig"] = {}
    _containers(wrong)[0]["envForm"] = []
    assert len(problems_by_crd(wrong, definition)) == 2


def _workdir() -> str:
    (folder,) = re.findall(r"^WORKDIR (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return str(folder)


def test_the_image_has_the_pinned_ray_and_copies_what_there_is() -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", Path("constraints.txt").read_text(), re.MULTILINE)
    assert f"FROM rayproject/ray:{pinned}-py311-gpu\n" in DOCKERFILE.read_text()
    assert _cluster(_manifest())["rayVersion"] == pinned
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert all(Path(source).exists() for source in sources)
    assert {"pyproject.toml", "setup.py", "README.md"} <= sources  # without these `pip install .` fails
