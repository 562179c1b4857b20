"""`cluster/slurm.sh` with the real Ray on two nodes: network, process and mount namespaces of this machine.

On the first node its own name leads to 127.0.1.1, as Debian and Ubuntu have it. In place of Slurm a script enters both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.sweep_files import write

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = Path("cluster/slurm.sh").resolve()
ADDRESSES = ("10.77.0.1", "10.77.0.2")
SWEEP = """\
name: on_two_nodes
trainable: static_prior
seeds: 3
fixed: {factors: 8, train_samples: 256, codebook_size: 4, dimension: 8, steps: 200}
grids:
  plain: {quantizer: vq}
  slices: {quantizer: dvq, slices: [2, 4]}
"""
SRUN = """\
#!/bin/bash
while case "$1" in --*) true ;; *) false ;; esac; do shift; done
nsenter --target {nodes[1]} --net --mount --pid --uts --wdns="$PWD" "$@" & other=$!
nsenter --target {nodes[0]} --net --mount --pid --uts --wdns="$PWD" "$@"
code=$?
wait $other
exit $code
"""


@pytest.fixture
def nodes() -> Iterator[list[int]]:
    """The processes that hold two nodes with a network between them, each with a hosts file and a folder for Ray."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("needs root and network namespaces")
    folder = Path(tempfile.mkdtemp(prefix="hosts", dir="/var/tmp"))
    holders, pids = [], []
    try:
        for number in (1, 2):
            own, other = (f"127.0.1.1 node{number}", f"{ADDRESSES[2 - number]} node{3 - number}")
            (folder / f"hosts{number}").write_text(f"127.0.0.1 localhost\n{own}\n{other}\n")
            begin = (
                f"hostname node{number}; mount --bind {folder}/hosts{number} /etc/hosts;"
                "mkdir -p /tmp/dvq_ray_21; mount -t tmpfs none /tmp/dvq_ray_21; ip link set lo up; exec sleep 600"
            )
            unshare = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-c", begin]
            holders.append(subprocess.Popen(unshare))
            pids.append(_child(holders[-1].pid))
        _run("ip", "link", "add", "dvq1", "netns", str(pids[0]), "type", "veth", "peer", "dvq2", "netns", str(pids[1]))
        for number, (pid, address) in enumerate(zip(pids, ADDRESSES, strict=True), 1):
            inside = ("nsenter", "--target", str(pid), "--net")
            _run(*inside, "ip", "address", "add", f"{address}/24", "dev", f"dvq{number}")
            _run(*inside, "ip", "link", "set", f"dvq{number}", "up")
        yield pids
    finally:
        for holder, pid in zip(holders, pids, strict=False):
            subprocess.run(
                ["kill", "-9", str(pid)], check=False
            )  # the first process of its namespace: all others go too
            holder.wait()
        shutil.rmtree(folder)
        shutil.rmtree("/tmp/dvq_ray_21", ignore_errors=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


def _child(pid: int) -> int:
    deadline = time.monotonic() + 10
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    return int(children[0])


def test_two_nodes_whose_own_names_lead_to_127_0_1_1_run_a_sweep_together(nodes: list[int], tmp_path: Path) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    here = Path(sys.executable).parent
    texts = {
        "srun": SRUN.format(nodes=nodes),
        "scontrol": "#!/bin/sh\nexit 1\n",  # one too old to know addresses
        "python": f'#!/bin/sh\nexec {here}/python "$@"\n',
        "ray": f'#!/bin/sh\nexec {here}/ray "$@"\n',
    }
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    sweep = write(tmp_path, SWEEP)
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "RAY"))}
    environment = {
        **outside,
        "SLURM_JOB_ID": "21",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURMD_NODENAME": "node1",
        "SLURM_CPUS_ON_NODE": "1",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "PYTHONPATH": str(Path.cwd()),
    }
    # The batch script is on the first node too. Its own processes stay visible, so that srun finds both nodes.
    hosts = Path(f"/proc/{nodes[0]}/root/etc/hosts").read_text()
    (tmp_path / "hosts").write_text(hosts)
    script = f'mount --bind {tmp_path}/hosts /etc/hosts; getent ahostsv4 node1 > {tmp_path}/name; exec bash "$@"'
    words = ["nsenter", f"--net=/proc/{nodes[0]}/ns/net", f"--uts=/proc/{nodes[0]}/ns/uts", "unshare", "--mount"]
    job = subprocess.run(
        [*words, "sh", "-c", script, "sh", str(SCRIPT), str(sweep), "--results", str(tmp_path / "results")],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (tmp_path / "name").read_text().startswith("127.0.1.1")
    assert job.returncode == 0, job.stdout[-3000:] + job.stderr[-3000:]
    assert "On head node" in job.stdout
    assert f"On worker node. Connecting to Ray cluster at {ADDRESSES[0]}:6379" in job.stdout
    cells = pd.read_parquet(tmp_path / "results" / "on_two_nodes" / "cells")
    assert len(cells) == 9
    assert {*cells["status"]} == {"ok"}
