"""Where numba keeps the kernel, and what happens to it when that place is read-only, broken or full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

COMPILES = """\
import numpy as np
from dvq_ray.fitting import compiled, kernel_cache
mse, _ = compiled.evaluate(np.zeros((1, 1, 2), np.float32), np.ones((4, 2), np.float32))
assert mse == 1.0
print(kernel_cache.has_place())
"""


def copy_of_package(folder: Path) -> Path:
    """The package without what is kept beside its source. Returns the folder to import it from."""
    shutil.copytree("dvq_ray", folder / "code" / "dvq_ray", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "code"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return copy_of_package(tmp_path)


def run(code: Path, **environment: str) -> str:
    """Uses the kernel in a process of its own, and returns what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES], cwd=code, env={**kept, "PYTHONPATH": str(code), **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kept(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.rglob("kernel.*.nb[ic]"))


KERNEL = ["kernel.evaluate", "kernel.evaluate", "kernel.train", "kernel.train"]
"""An index and the code of each function."""


def block(code: Path) -> None:
    """Makes sure that nothing can be kept beside the source, not even by root."""
    cache = code / "dvq_ray" / "fitting" / "__pycache__"
    shutil.rmtree(cache, ignore_errors=True)
    cache.touch()


def test_read_only_code_and_no_home_are_no_hindrance(code: Path, tmp_path: Path) -> None:
    block(code)
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o700)
    assert run(code, HOME=str(tmp_path / "missing" / "\\0"), XDG_CACHE_HOME="relative", TMPDIR=str(temporary)) == "True"
    assert kept(temporary) == KERNEL
    assert not (code / "~").exists()
    assert not (code / "relative").exists()


def test_where_nothing_can_be_kept_the_kernel_is_compiled_all_the_same(code: Path, tmp_path: Path) -> None:
    block(code)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o777)  # any user could replace what is kept there
    assert run(code, HOME="/dev/null", TMPDIR=str(temporary)) == "False"
    assert kept(tmp_path) == []


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the package, and where numba has kept its kernel."""
    folder = tmp_path_factory.mktemp("compiled")
    code = copy_of_package(folder)
    assert run(code, NUMBA_CACHE_DIR=str(folder / "numba")) == "True"
    assert kept(folder / "numba") == KERNEL
    return code, folder / "numba"


def test_a_kernel_that_was_kept_is_used(compiled: tuple[Path, Path]) -> None:
    code, place = compiled
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.nb[ic]")}
    assert run(code, NUMBA_CACHE_DIR=str(place)) == "True"
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*.nb[ic]")} == before


LEFT = {"empty": b"", "zeros": b"\0" * 4096, "nonsense": b"\x80\x04nonsense"}


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        ("empty", "nbi"),
        ("empty", "nbc"),
        ("zeros", "nbc"),
        ("nonsense", "nbi"),
        pytest.param("zeros", "nbi", marks=pytest.mark.slow),
        pytest.param("nonsense", "nbc", marks=pytest.mark.slow),
    ],
)
def test_what_a_power_cut_leaves_is_removed(
    compiled: tuple[Path, Path], tmp_path: Path, content: str, ending: str
) -> None:
    code, whole = compiled
    place = shutil.copytree(whole, tmp_path / "numba")
    for path in place.rglob(f"*.{ending}"):
        path.write_bytes(LEFT[content])
    assert run(code, NUMBA_CACHE_DIR=str(place)) == "False"
    assert kept(place) == []
