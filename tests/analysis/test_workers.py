"""Work in several processes at once: in all of them, and no error of one of them is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis import build
from analysis.__main__ import main
from analysis.data.rows import Rows
from analysis.figures import ITEMS
from analysis.workers import workers
from dvq_ray.store import StoreError
from tests.analysis.made_up import made_up_rows, rows, write

ROWS = made_up_rows(rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.workers.usable_cores", lambda: 2)


def _process(found: Rows, seconds: float) -> tuple[int, int]:
    time.sleep(seconds)
    return os.getpid(), len(found.frame)


def _refuse(found: Rows) -> None:
    raise StoreError("cannot be read")


def _die(found: Rows, /, *_: object, **__: object) -> None:
    os._exit(1)


def test_all_cores_work_on_the_rows_and_this_process_does_not() -> None:
    with workers(ROWS) as submit:
        found = [future.result() for future in [submit(_process, 0.2) for _ in range(4)]]
    assert {count for _, count in found} == {2}
    assert len({process for process, _ in found} - {os.getpid()}) == 2


def test_an_error_of_the_work_is_raised_with_its_result() -> None:
    with workers(ROWS) as submit, pytest.raises(StoreError, match="cannot be read"):
        submit(_refuse).result()


def test_a_process_that_dies_ends_the_work_and_does_not_hang_it() -> None:
    with workers(ROWS) as submit, pytest.raises(BrokenProcessPool):
        submit(_die).result()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_reading_leaves_no_threads_that_a_fork_would_lose(tmp_path: Path) -> None:
    store = write(tmp_path / "store", rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))
    code = (
        "import os, sys; import analysis.__main__; from analysis.data.rows import load_rows\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count(); load_rows([sys.argv[1]]); assert count() == before, (before, count())"
    )
    subprocess.run([sys.executable, "-c", code, store], check=True)


def test_a_process_that_dies_is_reported_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path / "store", rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))
    monkeypatch.setattr(build, "make_named", _die)
    result = CliRunner().invoke(main, [store])
    assert result.exit_code == 2
    assert result.stderr == "a process that was making figures was killed; most likely memory ran out\n"


def test_an_item_crosses_between_processes_by_its_name() -> None:
    function, arguments = ITEMS["figure4"].__reduce__()
    assert arguments == ("figure4",)
    assert function(*arguments) is ITEMS["figure4"]
