from __future__ import annotations

from collections.abc import Iterator

import pytest

from dvq_ray.execution.executor import Executor
from dvq_ray.execution.in_process import InProcess
from dvq_ray.execution.tune.under_tune import UnderTune
from dvq_ray.testing import ExecutorContract
from tests.nodes import nodes


class TestInProcess(ExecutorContract):
    def executor(self) -> Executor:
        return InProcess()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with nodes(1, num_cpus=2) as cluster:
        yield str(cluster.address)


@pytest.mark.ray
class TestUnderTune(ExecutorContract):
    """On one cluster for all tests; `test_tune.py` has sweeps that start one of their own."""

    @pytest.fixture(autouse=True)
    def _on_one_cluster(self, address: str) -> None:
        self.address = address

    def executor(self) -> Executor:
        return UnderTune(self.address)
