"""What KubeRay's submitter pod does with a RayJob's `entrypoint`: the string that it hands to bash, and a run of it.

As `BuildJobSubmitCommand` in KubeRay's `ray-operator/controllers/ray/common/job.go` (1.5.1 and 1.7.0) has it: words
joined by spaces, the entrypoint among them as it is, given to `/bin/bash -ce --`. `ray` and `python` are replaced by
scripts that record their calls.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ADDRESS = "http://dvq-ray-cifar10-head-svc.default.svc.cluster.local:8265"
JOB = "dvq-ray-cifar10-x7k2p"
VERSIONS = ("1.5.1", "1.7.0")

_RECORD = """#!/bin/sh
{ printf '%s' "$(basename "$0")"; for word; do printf '\\037%s' "$word"; done; printf '\\036'; } >> "$RECORD"
"""
_STUBS = {
    "ray": 'case "$2" in status) exit "$SUBMITTED" ;; esac\n',
    "python": "exit 0\n",
}


def command(entrypoint: str, version: str, address: str = ADDRESS, job: str = JOB) -> str:
    """The submitter's one argument, where the job is submitted by a Kubernetes job (KubeRay's default)."""
    health = (
        f"""python -c "import urllib.request; urllib.request.urlopen('{address}/api/gcs_healthz', timeout=2)" """
        '>/dev/null 2>&1 ; do echo "waiting" ; sleep 2 ; done ;'
    )
    words = [
        *(["until", health] if version == "1.7.0" else []),
        f"if ! ray job status --address {address} {job} >/dev/null 2>&1 ; then",
        f"ray job submit --address {address} --no-wait --submission-id {job} --", entrypoint.strip(), "; fi ;",
        f"ray job logs --address {address} --follow {job}",
    ]  # fmt: skip
    return " ".join(words)


@dataclass(frozen=True)
class Submission:
    """What a submitter ran: each program with its words, the health check left out."""

    calls: Sequence[Sequence[str]]

    @property
    def kinds(self) -> list[str]:
        """`job submit` and the like, in their order; other programs by their name."""
        return [" ".join(call[1:3]) if call[0] == "ray" else call[0] for call in self.calls]

    @property
    def entrypoint(self) -> list[str]:
        """The words that Ray was given to run, by the one call that submitted any."""
        (submit,) = [call for call in self.calls if [*call[:3]] == ["ray", "job", "submit"]]
        return [*submit[submit.index("--") + 1 :]]


def run(entrypoint: str, version: str, folder: Path, *, submitted: bool = False) -> Submission:
    """A submitter's whole life in bash; `submitted` where one before it has submitted the job."""
    record = folder / "calls"
    record.write_text("")
    for name, does in _STUBS.items():
        (folder / name).write_text(_RECORD + does)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "RECORD": str(record), "SUBMITTED": "0" if submitted else "1"}
    subprocess.run(["/bin/bash", "-ce", "--", command(entrypoint, version)], env=environment, cwd=folder, check=True)
    calls = [call.split("\037") for call in record.read_text().split("\036") if call]
    return Submission([call for call in calls if call[:2] != ["python", "-c"]])


def run_by_supervisor(words: Sequence[str], folder: Path) -> list[str]:
    """What the cluster runs of a submitted job, whose words Ray joins for a shell."""
    record = folder / "calls"
    record.write_text("")
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "RECORD": str(record)}
    subprocess.run(shlex.join(words), shell=True, env=environment, cwd=folder, check=True)
    (call,) = [call.split("\037") for call in record.read_text().split("\036") if call]
    return call
