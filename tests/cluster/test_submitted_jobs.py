"""A submitted sweep in what a pod sees: a token, user 1000, read-only code, no home; and slow storage."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from dvq_ray.cli.status import main as status
from dvq_ray.store import Store
from tests.cluster import submitter
from tests.cluster.container import head
from tests.object_storage import ObjectStorage, serving

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRAININGS = """\
name: stopped
trainable: learned_prior
fixed: {image_size: 16, dimension: 16, codebook_size: 16, stem_channels: 8, body_channels: 8, residual_channels: 8,
        logistic_mixtures: 1, batch_size: 8, steps: 50000, learning_rate: 0.003}
grids:
  plain: {quantizer: vq}
  slices: {quantizer: dvq, slices: 4}
checkpoint_seconds: 9999
"""
"""Two trainings of half an hour, which keep checkpoints only when they are interrupted."""


@pytest.fixture(autouse=True)
def _possible() -> None:
    pytest.importorskip("aiohttp_cors", reason="the job server needs ray[default], which the extra `aws` brings")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"]).returncode:
        pytest.skip("needs root and mount namespaces")


@pytest.fixture
def storage() -> Iterator[ObjectStorage]:
    with serving() as server:
        yield server


def _variables(storage: ObjectStorage, **more: str) -> dict[str, str]:
    """What the secret of the bucket's keys gives a container."""
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return {**keys, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": storage.endpoint, **more}


def test_kuberays_submitter_runs_a_sweep_whole_on_the_cluster(storage: ObjectStorage) -> None:
    with head(_variables(storage)) as container:
        for closed in ("/home/ray/x", "/home/ray/dvq_ray/sweeps/x", "/var/tmp/x"):
            assert container.run(f"touch {closed}").returncode == 1
        entrypoint = (
            "python -m dvq_ray.sweep /home/ray/dvq_ray/sweeps/smoke.yaml --results s3://bucket/whole "
            "--set 'fixed.train_samples=512'"
        )
        submitted = container.run(submitter.command(entrypoint, "1.5.1", container.dashboard, "smoke-x7k2p"))
        assert submitted.returncode == 0, submitted.stdout
        assert "smoke: 66 of 66 cells done, 0 failed" in submitted.stdout
        # The next submitter, where the log stream of the first had broken, follows the same job.
        again = container.run(submitter.command(entrypoint, "1.5.1", container.dashboard, "smoke-x7k2p"))
        assert "submitted successfully" not in again.stdout
        shell = container.run(f"ray status --address {container.gcs}")  # `kubectl exec`: a fresh shell with the token
        assert shell.returncode == 0, shell.stdout
        assert container.run(f"ray status --address {container.gcs}", RAY_AUTH_TOKEN="f" * 64).returncode != 0
        assert container.run(f"ray job list --address {container.dashboard}", RAY_AUTH_TOKEN="f" * 64).returncode != 0
    rows = Store(storage.uri("whole/smoke")).load(["cell_id", "status", "train_samples"])
    assert len(rows) == 66
    assert {*rows["status"]} == {"ok"}
    assert CliRunner().invoke(status, [storage.uri("whole/smoke")]).exit_code == 0


@pytest.mark.parametrize(("wait", "ends_by_itself"), [("300", True), ("3", False)])
def test_a_stopped_job_keeps_checkpoints_on_slow_storage_if_ray_waits_for_it(
    wait: str, ends_by_itself: bool, storage: ObjectStorage
) -> None:
    """Three seconds is what Ray waits by default. The server here keeps what it has received of a client that was
    killed meanwhile, so that only the driver's last words tell.
    """
    results = f"s3://bucket/stopped-after-{wait}"
    with head(_variables(storage, RAY_JOB_STOP_WAIT_TIME_S=wait)) as container:
        container.run(f"cat > /tmp/stopped.yaml <<'END'\n{TRAININGS}END")
        sweep = f"exec python -m dvq_ray.sweep /tmp/stopped.yaml --results {results}"
        job = f"ray job submit --address {container.dashboard} --no-wait --submission-id stopped-1 -- {sweep}"
        assert container.run(job).returncode == 0
        deadline = time.monotonic() + 120
        logs = f"ray job logs --address {container.dashboard} stopped-1"
        while not re.search(r"\d+ min left, 2 running", container.run(logs).stdout):
            assert time.monotonic() < deadline, container.run(logs).stdout
            time.sleep(1)
        storage.delay_seconds = 6
        with storage.failing("delayed", methods=("PUT", "POST"), path="checkpoints"):
            stop = container.run(f"ray job stop --address {container.dashboard} stopped-1")
            assert "stopped" in stop.stdout, stop.stdout
        said = container.run(logs).stdout
    assert ("interrupted: the same command resumes from here" in said) is ends_by_itself, said
    if ends_by_itself:
        assert len(_kept(storage, results)) == 2


def _kept(storage: ObjectStorage, results: str) -> list[str]:
    """The checkpoints in the store."""
    store = Store(storage.uri(f"{results.removeprefix('s3://bucket/')}/stopped"))
    return [info.base_name for info in store.files_below("checkpoints")]
