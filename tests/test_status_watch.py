"""What `status` says of results while a sweep runs, and `status --watch`."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from dvq_ray.cli import status as status_module
from dvq_ray.cli import watching
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.store import Store
from tests.sweep_files import SEARCH, TINY, write


def finished(folder: Path, text: str = TINY) -> Store:
    CliRunner().invoke(sweep, [str(write(folder, text)), "--results", str(folder / "results"), "--in-process"])
    return Store(folder / "results" / "tiny")


def runs_for(monkeypatch: pytest.MonkeyPatch, looks: int) -> list[bool]:
    """Makes it seem that a driver runs for so many questions; returns the answers that were given."""
    answers: list[bool] = []

    def is_running(store: Store) -> bool:
        answers.append(len(answers) < looks)
        return answers[-1]

    monkeypatch.setattr(watching, "is_running", is_running)
    monkeypatch.setattr(status_module, "give_way", lambda: None)  # or this process would be slow from here on
    return answers


def test_the_best_and_the_last_value_are_reported_with_their_cells(tmp_path: Path) -> None:
    store = finished(tmp_path)
    lines = CliRunner().invoke(status, [store.location], env={"COLUMNS": "200"}).output.splitlines()
    rows = pd.read_parquet(store.place("cells")).sort_values("test_mse")
    best, last = rows.iloc[0], rows.sort_values("run_started_at").iloc[-1]
    said = {line[:10]: line[11:] for line in lines}
    settings = f"quantizer={best['quantizer']} dimension={best['dimension']}"
    assert said["best value"].startswith(f"test_mse {best['test_mse']:.4g}, of cell {best['cell_id']} ({settings}")
    assert f"seed={best['seed']})" in said["best value"]
    assert said["last value"].startswith(f"test_mse {last['test_mse']:.4g}, of cell {last['cell_id']} (")


def test_a_search_says_its_own_best_and_the_last_value(tmp_path: Path) -> None:
    store = finished(tmp_path, SEARCH)
    output = CliRunner().invoke(status, [store.location]).output
    assert output.count("best") == 1
    assert "last value test_mse" in output


def test_rounds_go_on_while_a_driver_runs_and_end_with_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_for(monkeypatch, 5)
    assert [*watching.rounds([Store(tmp_path)], share=0.5, least_seconds=0.0)] == [True] * 5 + [False]


def test_looking_takes_no_more_than_its_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, computed, slept = [0.0], [0.0], list[float]()
    monkeypatch.setattr(watching, "cpu_seconds", lambda: computed[0])
    monkeypatch.setattr("dvq_ray.cli.watching.time.monotonic", lambda: clock[0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("dvq_ray.cli.watching.time.sleep", sleep)
    runs_for(monkeypatch, 100)
    looks = watching.rounds([Store(tmp_path)], share=0.05, least_seconds=2.0)
    next(looks)
    clock[0] += 30.0  # a look at a large store, on a busy machine
    computed[0] += 3.0
    next(looks)
    assert sum(slept) == pytest.approx(30.0)
    assert max(slept) <= 2.0, "the end of the sweep is noticed soon"


def test_watching_a_sweep_that_does_not_run_is_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = finished(tmp_path)
    monkeypatch.setattr(status_module, "give_way", lambda: None)
    once, watched = (CliRunner().invoke(status, [store.location, *some]) for some in ([], ["--watch"]))
    assert watched.exit_code == once.exit_code == 0
    assert watched.output.splitlines()[0] == once.output.splitlines()[0]


def test_ctrl_c_ends_the_looking_with_the_exit_code_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY)

    def interrupted(*_: object, **__: object) -> Iterator[bool]:
        yield True
        raise KeyboardInterrupt

    monkeypatch.setattr(status_module, "give_way", lambda: None)
    monkeypatch.setattr(status_module, "rounds", interrupted)
    result = CliRunner().invoke(status, [store.location, "--watch"])
    assert result.exit_code == 3
    assert result.output.startswith("tiny: 0 of 8 cells done")
    assert result.output.count("cells done") == 1, "it is no terminal"


def test_a_store_that_does_not_exist_is_an_error_to_watch_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "give_way", lambda: None)
    assert CliRunner().invoke(status, [str(tmp_path / "nowhere"), "--watch"]).exit_code == 2


@pytest.mark.long
def test_on_a_terminal_the_state_is_redrawn_until_the_sweep_ends(tmp_path: Path) -> None:
    text = TINY.replace("steps: 20", "steps: 4000").replace("seeds: 2", "seeds: 3")
    command = [sys.executable, "-m", "dvq_ray.sweep", str(write(tmp_path, text)), "--in-process"]
    running = subprocess.Popen(
        [*command, "--results", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    store = Store(tmp_path / "tiny")
    while not watching.is_running(store) and running.poll() is None:
        time.sleep(0.05)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "LINES": "50", "TERM": "xterm"}
    looking = subprocess.Popen(
        [sys.executable, "-m", "dvq_ray.status", store.location, "--watch"], stdout=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # which says that the other end was closed
        while part := os.read(ours, 1 << 16):
            seen += part
    os.close(ours)
    assert running.wait() == 0
    assert looking.wait() == 0
    drawn = seen.decode()
    assert "Ctrl-C ends this, not the sweep" in drawn
    assert "\x1b[2K" in drawn, "it is redrawn in place"
    assert drawn.count("12 of 12 cells done") >= 1
