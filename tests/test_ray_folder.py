"""Where Ray's folder is put."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvq_ray.execution.executor import ResourcesError
from dvq_ray.execution.tune import ray_folder as module
from dvq_ray.execution.tune.ray_folder import given_to_ray, ray_folder
from dvq_ray.process.private_folder import private_folder

VARIABLES = ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP", "XDG_RUNTIME_DIR")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a path that is short enough for sockets, and no variable that names one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="s") as folder:
        yield Path(folder)


def parent_of_folder() -> Path:
    with ray_folder() as folder:
        assert list(folder.iterdir()) == [folder / "lock"]
        assert Path(given_to_ray(folder)).parent == folder
    assert not folder.exists()
    return folder.parent


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR", "TEMP", "TMP"])
def test_it_is_where_the_user_says(name: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, str(short))
    assert parent_of_folder() == short


def test_rays_own_variable_comes_first(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short / "a").mkdir()
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setenv("RAY_TMPDIR", str(short / "a"))
    assert parent_of_folder() == short / "a"


def test_the_longest_path_that_is_taken_is_one_that_sockets_fit_in(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    for length in range(1, 30):
        folder = short / ("x" * length)
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        taken.append(parent_of_folder() == folder)
    assert taken == sorted(taken, reverse=True)
    longest = len(str(short)) + 1 + sum(taken)
    # Ray's longest socket is then at 107 characters, of which there may be no more.
    assert longest + len("/dvq_ray_abcdefgh/ray/session_2026-11-29_01-13-28_485674_4194304/sockets/plasma_store") == 107


@pytest.mark.parametrize(
    "place", ["missing", "file", "deep/" + "x" * 30, "x" * 80, "read-only", "line\nbreak", "bytes\udcff", "full"]
)
def test_a_place_that_does_not_suit_is_passed_over(place: str, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = short / place
    if place == "file":
        folder.touch()
    elif place != "missing":
        folder.mkdir(parents=True)
    if place == "read-only":  # even to root
        monkeypatch.setattr(module, "private_folder", lambda at: _refuse() if at == folder else private_folder(at))
    if place == "full":
        usage = shutil.disk_usage(short)
        free = {folder: 2**20}
        monkeypatch.setattr("shutil.disk_usage", lambda at: usage._replace(free=free.get(at.parent, 2**30)))
    monkeypatch.setenv("TMPDIR", str(folder))
    assert parent_of_folder() == Path("/tmp")
    assert not folder.is_dir() or not list(folder.iterdir())


def _refuse() -> None:
    raise PermissionError(13, "Permission denied")


def test_a_relative_place_is_one_below_the_working_folder(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short)
    (short / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", "tmp")
    assert parent_of_folder() == short / "tmp"


def test_where_no_place_suits_each_is_named_with_its_reason(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = short / ("x" * 40)
    long.mkdir()
    monkeypatch.setattr(module, "_parents", lambda: [long, short / "missing"])
    with pytest.raises(ResourcesError) as raised, ray_folder():
        raise AssertionError
    assert str(raised.value) == (
        f"no folder suits Ray's files and sockets ({long}: AF_UNIX path too long; {short / 'missing'}: No such file or "
        "directory); set TMPDIR to one, such as /tmp"
    )
    assert list(long.iterdir()) == []


def test_folders_that_killed_runs_left_are_removed(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = short / "dvq_ray_abcdefgh"
    left.mkdir()
    (left / "lock").touch()
    monkeypatch.setenv("TMPDIR", str(short))
    parent_of_folder()
    assert not left.exists()
