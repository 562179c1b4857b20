from __future__ import annotations

import pytest

from dvq_ray.execution.executor import Executor
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.testing import ExecutorContract


class TestInProcess(ExecutorContract):
    def executor(self) -> Executor:
        return InProcess()


@pytest.mark.ray
class TestUnderTune(ExecutorContract):
    def executor(self) -> Executor:
        return UnderTune(None)
