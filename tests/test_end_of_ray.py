from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvq_ray.execution.tune.end_of_ray import end_processes, marked

SLEEPS = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(99)'])",
]


def test_processes_of_a_cluster_are_ended_with_all_that_they_started_and_no_others(tmp_path: Path) -> None:
    with marked(tmp_path / "ours"):
        ours = subprocess.Popen(SLEEPS)
    with marked(tmp_path / "ours_too"):
        others = subprocess.Popen(SLEEPS)
    assert "DVQ_RAY_FOLDER" not in os.environ
    try:
        end_processes(tmp_path / "ours")
        assert ours.wait(timeout=30) == -9
        assert others.poll() is None
    finally:
        end_processes(tmp_path / "ours_too")
        assert others.wait(timeout=30) == -9


@pytest.mark.parametrize("asked", [True, False])
def test_a_lost_cluster_ends_the_process_with_a_line_and_an_exit_code(asked: bool, tmp_path: Path) -> None:
    code = f"""
import pathlib, sys
from types import SimpleNamespace as It
from dvq_ray.execution.tune.end_of_ray import end_without_ray
sys.stdout.write("written before")
folder = pathlib.Path(sys.argv[1]) / "folder"
(folder / "ray").mkdir(parents=True)
(folder / "lock").touch()
job = It(progress=It(__exit__=lambda: 1 / 0), interruption=It(asked={asked}))
try:
    end_without_ray("Ray's head is gone", folder, job)
finally:
    print("nothing runs after it")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    kept = "the same command resumes from here"
    if asked:
        assert (done.returncode, done.stderr) == (130, f"interrupted: {kept}\n")
    else:
        assert (done.returncode, done.stderr) == (
            4,
            f"Ray's head is gone. Every row that was written is kept; {kept}\n",
        )
    assert done.stdout == "written before"
    assert list(tmp_path.iterdir()) == []
