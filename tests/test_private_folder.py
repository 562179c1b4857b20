"""Folders of one process, and what is left of them when processes are killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvq_ray.process.private_folder import private_folder, remove_abandoned

HOLDS_ONE = """\
import sys, time
from pathlib import Path
from dvq_ray.process.private_folder import private_folder
with private_folder(Path(sys.argv[1])) as folder:
    (folder / "ray").mkdir(mode=0o777)
    (folder / "ray" / "log").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process with a private folder."""

    def __init__(self, parent: Path) -> None:
        command = [sys.executable, "-c", HOLDS_ONE, str(parent)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.folder = Path(self.process.stdout.readline().strip())
        assert self.folder.is_dir()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[Holder]]:
    started = [Holder(tmp_path) for _ in range(2)]
    yield started
    for holder in started:
        holder.kill()


def test_no_other_user_can_enter_and_nothing_stays(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with private_folder(tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.stat().st_uid == os.geteuid()
            (folder / "ray" / "deep").mkdir(parents=True)
            (folder / "ray" / "latest").symlink_to(folder)
            (folder / "broken").symlink_to("nowhere")
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o077, 0o777])
def test_it_can_be_used_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with private_folder(tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_live_one_is_not(
    tmp_path: Path, holders: list[Holder]
) -> None:
    killed, alive = holders
    killed.kill()
    assert killed.folder.exists()
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [alive.folder]
    assert (alive.folder / "ray" / "log").read_text() == "x"


def test_a_process_id_does_not_matter(tmp_path: Path, holders: list[Holder]) -> None:
    killed, _ = holders
    killed.kill()
    (killed.folder / "pid").write_text(str(os.getpid()))  # as if the number were in use again
    remove_abandoned(tmp_path)
    assert not killed.folder.exists()


def test_many_at_once_remove_it_without_an_error(tmp_path: Path, holders: list[Holder]) -> None:
    killed, alive = holders
    killed.kill()
    code = "import sys, pathlib, dvq_ray.process.private_folder as m; m.remove_abandoned(pathlib.Path(sys.argv[1]))"
    removers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [remover.wait() for remover in removers] == [0] * 4
    assert list(tmp_path.iterdir()) == [alive.folder]


def abandoned(parent: Path, name: str = "dvq_ray_abcdefgh") -> Path:
    folder = parent / name
    folder.mkdir(mode=0o700)
    (folder / "lock").touch()
    return folder


def test_what_cannot_be_removed_now_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = abandoned(tmp_path)
    (folder / "ray").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)
        remove_abandoned(tmp_path)
    assert (folder / "lock").exists()
    remove_abandoned(tmp_path)
    assert not folder.exists()


def test_what_is_not_of_this_kind_is_left_alone(tmp_path: Path) -> None:
    kept = [
        abandoned(tmp_path, name) for name in ("dvq_ray_17", "dvq_ray_abcdefghi", "ray_abcdefgh", "dvq_ray_ABCDEFGH")
    ]
    other = tmp_path / "dvq_ray_aaaaaaaa"  # of an older version, which had no lock
    (other / "session_latest").mkdir(parents=True)
    (tmp_path / "dvq_ray_bbbbbbbb").write_text("a file")
    elsewhere = abandoned(tmp_path, "elsewhere")
    (tmp_path / "dvq_ray_cccccccc").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert all(folder.exists() for folder in kept)


def test_an_empty_one_is_of_a_process_that_was_killed_before_it_locked(tmp_path: Path) -> None:
    (tmp_path / "dvq_ray_abcdefgh").mkdir()
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_those_of_other_users_are_left_alone(tmp_path: Path) -> None:
    folder = abandoned(tmp_path)
    os.chown(folder, 12345, 12345)
    remove_abandoned(tmp_path)
    assert folder.exists()


def test_another_takes_the_place_of_one_that_is_removed_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(**options: str) -> str:
        folder = tmp_path / f"dvq_ray_{len(made):08}"
        if made:
            folder.mkdir()  # the first is gone again at once
        made.append(folder)
        return str(folder)

    monkeypatch.setattr("tempfile.mkdtemp", make)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with private_folder(tmp_path) as folder:
        assert folder == made[1]


def test_a_parent_that_is_not_there_is_no_error_for_the_removal(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "missing")
