"""The package as a wheel installs it, used in a folder outside of the checkout that has an `analysis` of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from dvq_ray.store.provenance import digest_of_sources

CHECKOUT = Path(__file__).parents[1]
FOLDERS = ("dvq_ray", "analysis", "sweeps", "examples")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves files where it builds."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(CHECKOUT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(CHECKOUT / file, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(source / "dist"), str(source)], check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def script(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dvq-ray` in a virtual environment that borrows all other packages from this one."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--force-reinstall", str(wheel)], check=True)
    return home / "bin" / "dvq-ray"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with our examples and with modules of its own whose names ours must not depend on."""
    shutil.copytree(CHECKOUT / "examples", tmp_path, dirs_exist_ok=True)
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise RuntimeError('not yours')\n")
    (tmp_path / "analysis.py").write_text("raise RuntimeError('not yours')\n")
    return tmp_path


def run(script: Path, folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([script, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_one_top_level_name_and_all_that_a_user_needs(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {*archive.namelist()}
        archive.extractall(tmp_path)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"dvq_ray"}
    assert {"dvq_ray/py.typed", "dvq_ray/sweeps/smoke.yaml", "dvq_ray/examples/sphere.yaml"} <= names
    files = [path for path in (CHECKOUT / "analysis").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {f"dvq_ray/{path.relative_to(CHECKOUT).as_posix()}" for path in files} <= names
    assert digest_of_sources(tmp_path / "dvq_ray") == digest_of_sources(CHECKOUT / "dvq_ray")


@pytest.mark.parametrize(
    ("example", "cells"),
    [
        ("residual_vq", ["seeds=2", "fixed.steps=100", "grids.own.stages=2"]),
        ("sphere", ["seeds=2", "grids.vq.steps=100"]),
    ],
)
def test_an_example_is_swept_looked_at_and_analysed(script: Path, folder: Path, example: str, cells: list[str]) -> None:
    overrides = [word for cell in cells for word in ("--set", cell)]
    ran = run(script, folder, "sweep", f"{example}.yaml", "--in-process", *overrides)
    assert f"next:    dvq-ray analyse results/{example}" in ran
    assert f"dvq-ray analyse results/{example}" in run(script, folder, "status", f"results/{example}")
    run(script, folder, "analyse", f"results/{example}")
    assert (folder / "results" / example / "figures" / "report.html").exists()
