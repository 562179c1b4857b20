"""What `ray job submit --working-dir .` sends: the code and the sweeps, and nothing large or private."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

LEFT_OUT = (".git", ".venv", "data", "results", "tests", ".ruff_cache", "build")
MEGABYTE = 1_000_000


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project as somebody has it who works with it."""
    for name in (".gitignore", ".rayignore", "pyproject.toml", "constraints.txt"):
        shutil.copy(name, tmp_path)
    for folder in ("dvq_ray", "analysis", "sweeps"):
        shutil.copytree(folder, tmp_path / folder)
    for folder in (*LEFT_OUT, "results/reference", "dvq_ray/__pycache__"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "large").write_bytes(bytes(MEGABYTE))
    return tmp_path


def test_the_package_holds_code_and_sweeps_and_leaves_out_results_data_and_git(checkout: Path) -> None:
    archive = checkout.with_suffix(".zip")
    create_package(str(checkout), archive, include_gitignore=True, excludes=_ray_excludes(checkout))
    with zipfile.ZipFile(archive) as package:
        names, unpacked = package.namelist(), sum(entry.file_size for entry in package.infolist())
    assert {"dvq_ray/cli/sweep.py", "analysis/__main__.py", "sweeps/cifar10.yaml", "pyproject.toml"} <= {*names}
    assert {str(path) for path in Path("dvq_ray").rglob("*.py")} <= {*names}
    assert not {name.split("/")[0] for name in names} & {*LEFT_OUT}
    assert not [name for name in names if name.endswith("large")]
    assert unpacked < 3 * MEGABYTE


def _ray_excludes(checkout: Path) -> list[str]:
    return [str(checkout / name) for name in get_runtime_env_default_excludes()]
