"""Folders for what compilers keep, and homes of users who have none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dvq_ray.process.home import ensure_home
from dvq_ray.process.user_cache import user_cache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary files of a machine, and a user without a home."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    return folder


def own(temporary: Path) -> Path:
    return temporary / f"dvq_ray-cache-{os.getuid()}"


def test_it_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert user_cache("numba") == tmp_path / "cache" / "dvq_ray" / "numba"
    assert user_cache("numba") == tmp_path / "cache" / "dvq_ray" / "numba"


def test_without_a_home_it_is_among_the_temporary_files_and_no_other_user_can_write_there(temporary: Path) -> None:
    folder = user_cache("numba")
    assert folder == own(temporary) / "numba"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_written_is_as_none(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(temporary / "file"))
    assert user_cache("numba") == own(temporary) / "numba"


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_folder_that_others_can_write_is_not_used(mode: int, temporary: Path) -> None:
    own(temporary).mkdir()
    own(temporary).chmod(mode)
    assert user_cache("numba") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_that_another_user_made_before_is_not_used(temporary: Path) -> None:
    own(temporary).mkdir(mode=0o755)
    os.chown(own(temporary), 12345, 12345)
    assert user_cache("numba") is None


def test_temporary_files_where_others_can_replace_folders_are_not_used(temporary: Path) -> None:
    temporary.chmod(0o777)  # without the sticky bit
    assert user_cache("numba") is None


def test_a_user_without_a_home_gets_one_and_others_keep_theirs(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_home()
    assert os.environ["HOME"] == str(own(temporary) / "home")
    monkeypatch.setattr(os.path, "expanduser", lambda path: "/home/me")
    monkeypatch.setenv("HOME", "/home/me")
    ensure_home()
    assert os.environ["HOME"] == "/home/me"
