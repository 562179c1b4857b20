from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS_OF_STEPS = """
import resource
import numpy as np
from dvq_ray.process.freed_memory import keep_freed_memory

if {kept}:
    assert keep_freed_memory()

def step():
    blocks = [np.ones(2**20, np.float32) for _ in range(4)]

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    code = FAULTS_OF_STEPS.format(kept=kept)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone returns memory this way")
def test_steps_do_not_touch_new_pages_for_what_they_freed_before() -> None:
    assert faults(kept=True) < 100
    assert faults(kept=False) > 1000  # the other test would show nothing if this were not so
