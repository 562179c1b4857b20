from __future__ import annotations

import subprocess
import sys

import pytest

CORE = [
    "sweep.spec", "sweep.cells", "store", "sweep.plan", "execution.pack", "quantizer.codebook_module", "fitting.kernel",
    "fitting.reference", "experiments.static_prior.run", "experiments.learned_prior.run",
    "experiments.learned_prior.images",
]  # fmt: skip


def modules_after(*statements: str) -> list[set[str]]:
    """The packages that are imported after each of the statements, which one process runs after the other."""
    code = "\nimport sys; print(*sys.modules)\n".join([*statements, ""])
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return [{name.partition(".")[0] for name in line.split()} for line in printed.splitlines()]


@pytest.mark.long
def test_the_core_imports_no_ray() -> None:
    imported = modules_after(*(f"import dvq_ray.{module}" for module in CORE))
    assert [module for module, packages in zip(CORE, imported, strict=True) if "ray" in packages] == []


def test_planning_imports_nothing_that_computes() -> None:
    heavy = {"ray", "torch", "torchvision", "PIL", "numba", "sklearn", "matplotlib"}
    (imported,) = modules_after("import dvq_ray.cli.sweep, dvq_ray.cli.status")
    assert not heavy & imported


@pytest.mark.long
def test_analysis_imports_nothing_that_computes() -> None:
    (imported,) = modules_after("import analysis.__main__")
    assert not {"ray", "torch", "numba", "sklearn"} & imported
