"""The package as a wheel installs it, used in a folder outside of the checkout that has an `analysis` of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from analysis.draw.looks import known_look
from dvq_ray.execution.tune.under_tune import QUIET_RAY
from dvq_ray.store.provenance import digest_of_sources

CHECKOUT = Path(__file__).parents[1]
FOLDERS = ("dvq_ray", "analysis", "sweeps", "examples")
EXAMPLES = {
    "residual_vq": ("--set", "seeds=2", "--set", "fixed.steps=100", "--set", "grids.own.stages=2"),
    "sphere": ("--set", "seeds=2", "--set", "grids.vq.steps=100"),
}
"""Options by which few cells of an example are run."""
OWN = "residual_vq:ResidualVq"


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


ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
OPEN = {**ENVIRONMENT, **QUIET_RAY, "RAY_AUTH_MODE": "disabled"}


def run(script: Path, folder: Path, *words: str) -> str:
    done = subprocess.run([script, *words], cwd=folder, env=OPEN, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cluster(script: Path) -> Iterator[str]:
    """The address of a Ray cluster whose processes know the wheel, and neither the checkout nor any example."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as temporary:  # the paths of Ray's sockets must be short
        head = subprocess.Popen(
            [script.with_name("python"), "-m", "ray.scripts.scripts", "start", "--head", "--block", *options],
            cwd=temporary, env={**OPEN, "RAY_TMPDIR": temporary}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert head.stdout is not None
        for line in head.stdout:
            if "Ray runtime started" in line:
                break
        try:
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.communicate(timeout=60)


def test_the_wheel_has_one_top_level_name_and_all_that_a_user_needs(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {*archive.namelist()}
        archive.extractall(tmp_path)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"dvq_ray"}
    assert {"dvq_ray/py.typed", "dvq_ray/sweeps/smoke.yaml", "dvq_ray/examples/sphere.yaml"} <= names
    files = [path for path in (CHECKOUT / "analysis").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {f"dvq_ray/{path.relative_to(CHECKOUT).as_posix()}" for path in files} <= names
    assert digest_of_sources(tmp_path / "dvq_ray") == digest_of_sources(CHECKOUT / "dvq_ray")


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_swept_looked_at_and_analysed(script: Path, folder: Path, example: str) -> None:
    ran = run(script, folder, "sweep", f"{example}.yaml", "--in-process", *EXAMPLES[example])
    assert f"next:    dvq-ray analyse results/{example}" in ran
    assert f"dvq-ray analyse results/{example}" in run(script, folder, "status", f"results/{example}")
    run(script, folder, "analyse", f"results/{example}")
    assert (folder / "results" / example / "figures" / "report.html").exists()


@pytest.mark.ray
def test_a_quantizer_and_an_experiment_of_ones_own_run_on_a_cluster(
    script: Path, folder: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for example, few in EXAMPLES.items():
        ran = run(script, folder, "sweep", f"{example}.yaml", "--address", cluster, *few)
        assert f"next:    dvq-ray analyse results/{example}" in ran
    assert {*pd.read_parquet(folder / "results" / "sphere" / "cells")["status"]} == {"ok"}
    rows = pd.read_parquet(folder / "results" / "residual_vq" / "cells")
    assert {*rows["status"]} == {"ok"}
    assert {*rows["quantizer"]} == {OWN, "vq", "dvq"}
    own = rows.loc[rows["quantizer"] == OWN, "cell_id"]
    lines = [line.split() for line in run(script, folder, "status", "results/residual_vq").splitlines()]
    assert ["own", "4", "0", "0"] in lines
    assert f"{own.iloc[0]}: identical" in run(script, folder, "rerun", "results/residual_vq", own.iloc[0])
    run(script, folder, "analyse", "results/residual_vq", "--item", "static_prior-rate")
    drawn = (folder / "results" / "residual_vq" / "figures" / "static_prior-rate.svg").read_text()
    monkeypatch.syspath_prepend(CHECKOUT / "examples")
    colours = [known_look(OWN, 2), known_look("vq", 16), known_look("dvq", 2)]
    assert [f"fill:{look.colour}" in drawn for look in colours] == [True, True, True]
    assert len({look.colour for look in colours}) == 3
