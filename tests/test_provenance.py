from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dvq_ray
from dvq_ray.store import provenance
from dvq_ray.store.provenance import digest_of_sources

PACKAGE = Path(dvq_ray.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package without its checkout, as a job on a cluster has it."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / "dvq_ray", ignore=ignored))


def commit_of(copy: Path) -> str:
    code = "from dvq_ray.store.provenance import Run; print(Run.start('x').commit)"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=copy.parent, capture_output=True, text=True, check=True).stdout.strip()


def test_code_without_a_checkout_is_told_by_its_digest(copy: Path) -> None:
    assert commit_of(copy) == f"sources-{digest_of_sources(PACKAGE)}"


def test_another_line_or_another_name_is_another_digest(copy: Path) -> None:
    before = digest_of_sources(copy)
    (copy / "problems.py").write_text((copy / "problems.py").read_text() + "\n")
    changed = digest_of_sources(copy)
    (copy / "streams.py").rename(copy / "rivers.py")
    assert len({before, changed, digest_of_sources(copy)}) == 3


def test_a_device_that_says_no_name_has_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.device_name.cache_clear()
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: 1 / 0)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(PermissionError("/proc/cpuinfo")))
    try:
        assert provenance.device_name("cuda:1") == "cuda:1"
        assert provenance.device_name("cpu") == (platform.processor() or platform.machine())
    finally:
        provenance.device_name.cache_clear()
