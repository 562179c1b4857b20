"""A head of Ray in what a pod of `cluster/kuberay.yaml` sees: user 1000, no home, and nothing but /tmp writable.

There is no builder of images here. The last steps of `cluster/Dockerfile` run as that user in a folder that becomes
/home; Python and the dependencies are this machine's. Needs root, and Ray with its extra `default`.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = Path("cluster/Dockerfile")
_USER = ["setpriv", "--reuid=1000", "--regid=100", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
_SEEN = """\
set -e
mount -t tmpfs -o mode=1777 none /tmp
mkdir /tmp/python
mount --bind {python} /tmp/python
if ! {user} test -x {python}/bin; then  # below a home that nobody else may enter
    mount -t tmpfs -o mode=755 none {closed}
    mkdir -p {python}
fi
mount --move /tmp/python {python}
rmdir /tmp/python
mount --bind {home} /home
"""
_READ_ONLY = "mount -o remount,ro,bind /home; mount -o remount,ro,bind /\n"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A container in which a head of Ray runs."""

    holder: int
    environment: Mapping[str, str]
    dashboard: str
    gcs: str

    def popen(self, command: str, **more: str) -> subprocess.Popen[str]:
        """A shell's command in the container, begun. `more` are variables besides the container's own."""
        variables = [f"{key}={value}" for key, value in {**self.environment, **more}.items()]
        words = ["nsenter", f"--target={self.holder}", "--mount", "--pid", "--wdns=/", *_USER, "env", "-i", *variables]
        return subprocess.Popen(
            [*words, "bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The same, to its end; both of its outputs are in `stdout`."""
        process = self.popen(command, **more)
        output, _ = process.communicate(timeout=240)
        return subprocess.CompletedProcess(command, process.returncode, output)


@contextmanager
def head(environment: Mapping[str, str]) -> Iterator[Head]:
    """A head with two CPUs, with these variables besides the token that KubeRay gives."""
    stage = Path(tempfile.mkdtemp(prefix="dvqimage", dir="/var/tmp"))
    home = stage / "home"
    variables = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": ":".join(["/home/ray/site", *_elsewhere()]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        **environment,
    }
    holder = None
    try:
        _build(stage)
        holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c",
             f"{_seen(home)}{_READ_ONLY}touch /tmp/ready; exec sleep 900"]  # as Ray in a pod, it reaps no orphans
        )  # fmt: skip
        pid = _child(holder.pid)
        gcs, dashboard, *agents = _free_ports(6)
        container = Head(
            holder=pid, environment=variables, dashboard=f"http://127.0.0.1:{dashboard}", gcs=f"127.0.0.1:{gcs}"
        )
        names = ("dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export", "object-manager")
        ports = " ".join(f"--{name}-port={port}" for name, port in zip(names, agents, strict=True))
        start = container.popen(
            f"exec ray start --head --block --node-ip-address=127.0.0.1 --port={gcs} --dashboard-host=127.0.0.1 "
            f"--dashboard-port={dashboard} --num-cpus=2 --num-gpus=0 --object-store-memory=100000000 {ports}"
        )
        _until(lambda: start.poll() is not None or container.run("ray status").returncode == 0)
        assert start.poll() is None, start.communicate()
        yield container
    finally:
        if holder is not None:
            subprocess.run(["kill", "-9", str(_child(holder.pid))], check=False)
            holder.wait()
        shutil.rmtree(stage)


def _build(stage: Path) -> None:
    """What the Dockerfile copies, and its steps after that, by user 1000."""
    text = DOCKERFILE.read_text()
    (workdir,) = re.findall(r"^WORKDIR (.+)$", text, re.MULTILINE)
    project = stage / workdir.lstrip("/")
    project.mkdir(parents=True)
    for words in re.findall(r"^COPY --chown=ray:users (.+)$", text, re.MULTILINE):
        *sources, target = words.split()
        for source in map(Path, sources):
            if source.is_dir():
                shutil.copytree(source, project / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, project / target)
    _run("chown", "-R", "1000:100", str(stage / "home" / "ray"))
    # The image's own pip would put it beside the dependencies, which are this machine's here.
    install = "pip install --no-cache-dir --no-deps --no-build-isolation --quiet --target /home/ray/site ."
    assert "RUN pip install --no-cache-dir --no-deps .\n" in text
    user = shlex.join([*_USER, "env", "-i", f"PATH={Path(sys.executable).parent}:/usr/bin:/bin", "bash", "-ec"])
    steps = f"{_seen(stage / 'home')}cd {workdir}; {user} {shlex.quote(install + '; chmod a+rx /home/ray')}"
    _run("unshare", "--mount", "bash", "-c", steps)


def _seen(home: Path) -> str:
    python = Path(sys.base_prefix)
    return _SEEN.format(python=python, closed=f"/{python.parts[1]}", home=home, user=shlex.join(_USER))


def _elsewhere() -> list[str]:
    """Folders of packages that this Python was given by hand."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(":") if path and path != str(Path.cwd())]


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _child(pid: int) -> int:
    found: list[str] = []

    def is_there() -> bool:
        found[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(found) and Path(f"/proc/{found[0]}/root/tmp/ready").exists()

    _until(is_there)
    return int(found[0])


def _until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
