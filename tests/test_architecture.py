from __future__ import annotations

import subprocess
import sys

import pytest

CORE = [
    "spec", "cells", "store", "plan", "pack", "quantizers", "static_prior.run", "static_prior.kernel",
    "static_prior.reference", "learned_prior.run", "learned_prior.images",
]  # fmt: skip


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in printed.split()}


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_no_ray(module: str) -> None:
    assert "ray" not in modules_after(f"import dvq_ray.{module}")


def test_planning_imports_nothing_that_computes() -> None:
    heavy = {"ray", "torch", "torchvision", "PIL", "numba", "sklearn", "matplotlib"}
    assert not heavy & modules_after("import dvq_ray.sweep")


def test_analysis_imports_nothing_that_computes() -> None:
    assert not {"ray", "torch", "numba", "sklearn"} & modules_after("import analysis.__main__")


def test_the_compiled_path_does_without_torch_and_the_reference_without_numba() -> None:
    fit = "import dvq_ray.static_prior.fit, dvq_ray.static_prior."
    assert "torch" not in modules_after(fit + "kernel")
    assert "numba" not in modules_after(fit + "reference")
