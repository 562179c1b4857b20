"""Sweeps under Ray Tune, and what is left when something is killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dvq_ray.cli.sweep import main
from dvq_ray.store import Store
from tests.sweep_files import NOT_A_RESULT, write

pytestmark = pytest.mark.ray

SWEEP = """\
name: killed
trainable: static_prior
seeds: 60
fixed: {factors: 8, train_samples: 256, codebook_size: 16, dimension: 8}
grids:
  plain: {quantizer: vq, steps: 20000}
  slices: {quantizer: dvq, steps: 20000, slices: [2, 4]}
"""
"""180 cells of some 30 ms each."""

LEARNED = """\
name: killed
trainable: learned_prior
fixed: {image_size: 16, dimension: 16, codebook_size: 16, stem_channels: 8, body_channels: 8, residual_channels: 8,
        logistic_mixtures: 1, batch_size: 8, steps: 500, learning_rate: 0.003}
grids:
  plain: {quantizer: vq}
  slices: {quantizer: dvq, slices: 4, ema_decay: 0.9, codebook_start: k-means, restart_below: 0.5}
checkpoint_seconds: 0.2
"""
"""Two cells of some five seconds."""

SEARCH = """\
name: killed
trainable: learned_prior
seeds: 2
fixed: {image_size: 16, dimension: 16, codebook_size: 16, stem_channels: 8, body_channels: 8, residual_channels: 8,
        logistic_mixtures: 1, batch_size: 8, steps: 100}
search:
  objective: {total_bits_per_dim_unigram: minimize}
  suggestions: 6
  space:
    slices: {choices: [1, 2, 3, 4]}
    learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
  start_from: [{slices: 4, learning_rate: 1.0e-2}, {learning_rate: 1.0e-5}, {learning_rate: 2.0e-5}]
  stop_early: {scheduler: asha, grace_steps: 10, reduction: 2}
"""
"""Six suggestions of some seconds, of which two that hardly learn are known to fall behind."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_here(folder)
    return results(folder)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A value in the environment of every process that a test starts, by which they can be found."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("DVQ_RAY_TEST", value)
    yield value
    for pid in processes(value, lambda _: True):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Ray's folder of a test comes to lie. Its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def rays_folders(temporary: Path) -> list[Path]:
    return list(temporary.glob("dvq_ray_*"))


def start(folder: Path, *arguments: str, text: str = SWEEP) -> subprocess.Popen[str]:
    """A sweep in a process group of its own, as a shell starts one."""
    command = [sys.executable, "-m", "dvq_ray.sweep", str(write(folder, text)), "--results", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0)


def run_here(folder: Path, *, text: str = SWEEP) -> None:
    """Runs a sweep to its end in this process, where nothing is to be killed and none has to be started."""
    done = CliRunner().invoke(main, [str(write(folder, text)), "--results", str(folder), "--in-process"])
    assert done.exit_code == 0, done.output


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def rows_written(folder: Path) -> int:
    """Lower bound of the rows in the store: files may be merged meanwhile."""
    count = 0
    for path in (folder / "killed" / "cells").glob("*.parquet"):
        with suppress(FileNotFoundError):
            count += pq.read_metadata(path).num_rows
    return count


def wait_for_rows(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while rows_written(folder) < count:
        assert time.monotonic() < deadline, "no rows were written"
        time.sleep(0.02)


def processes(mark: str, wanted: Callable[[str], bool]) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and mark in (path / "environ").read_text(errors="replace"):
                command = (path / "cmdline").read_text(errors="replace")
                if int(path.name) != os.getpid() and wanted(command):
                    found.append(int(path.name))
        except OSError:
            continue
    return found


def results(folder: Path) -> pd.DataFrame:
    """What is in the store as pandas reads it, without what differs from run to run."""
    frame = pd.read_parquet(folder / "killed" / "cells").drop(columns=NOT_A_RESULT, errors="ignore")
    assert not frame["cell_id"].duplicated().any()
    return frame.sort_values("cell_id", ignore_index=True)


def rows(folder: Path) -> pd.DataFrame:
    """Which cells the store has rows of, while files may still be merged."""
    return Store(folder / "killed").load(["cell_id", "status"])


def assert_completed_by_the_same_command(folder: Path, undisturbed: pd.DataFrame) -> None:
    run_here(folder)
    pd.testing.assert_frame_equal(results(folder), undisturbed, check_exact=True)


def test_a_sweep_under_tune_gives_the_same_bytes_as_in_process_and_prints_no_noise(
    tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    code, output = finish(start(tmp_path))
    assert code == 0, output
    pd.testing.assert_frame_equal(results(tmp_path), undisturbed, check_exact=True)
    allowed = ("killed:", "expected time:", "results:", "next:")
    lines = [line for line in output.splitlines() if " of 180 cells, " not in line]
    assert all(line.startswith(allowed) for line in lines), output
    best = results(tmp_path)["test_mse"].min()
    assert f", best {best:.4g}," in output or f", test_mse {best:.4g}," in output
    assert len(list((tmp_path / "killed" / "cells").iterdir())) == 1


def test_a_killed_driver_leaves_a_store_that_the_same_command_completes(
    tmp_path: Path, undisturbed: pd.DataFrame, mark: str, temporary: Path
) -> None:
    process = start(tmp_path)
    wait_for_rows(tmp_path, 20)
    process.kill()
    process.wait()
    kept = len(rows(tmp_path))
    assert 0 < kept < 180
    assert len(rays_folders(temporary)) == 1
    code, output = finish(start(tmp_path))
    assert code == 0, output
    assert rays_folders(temporary) == []  # neither its own folder nor that of the killed one
    assert int(output.split("cells to run, ")[1].split()[0]) >= kept  # they were not computed again
    pd.testing.assert_frame_equal(results(tmp_path), undisturbed, check_exact=True)


def test_a_killed_worker_is_replaced_and_no_cell_is_lost(tmp_path: Path, undisturbed: pd.DataFrame, mark: str) -> None:
    process = start(tmp_path)
    wait_for_rows(tmp_path, 20)
    workers = processes(mark, lambda command: "Trainable" in command)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    code, output = finish(process)
    assert code == 0, output
    pd.testing.assert_frame_equal(results(tmp_path), undisturbed, check_exact=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_ends_soon_and_resumes_with_the_same_command(
    tmp_path: Path, undisturbed: pd.DataFrame, number: signal.Signals
) -> None:
    process = start(tmp_path)
    wait_for_rows(tmp_path, 20)
    process.send_signal(number)
    code, output = finish(process)
    assert code == 130, output
    assert "interrupted: the same command resumes from here" in output
    assert "Traceback" not in output
    assert_completed_by_the_same_command(tmp_path, undisturbed)


@pytest.fixture(scope="module")
def undisturbed_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed_training")
    run_here(folder, text=LEARNED)
    return folder


def checkpoints(folder: Path) -> list[Path]:
    return [path for path in (folder / "killed" / "checkpoints").glob("*") if not path.name.startswith(".")]


def wait_for_checkpoints(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while len(checkpoints(folder)) < count:
        assert time.monotonic() < deadline, "no checkpoints were written"
        time.sleep(0.02)


def curves(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "killed" / "curves").drop(columns=NOT_A_RESULT, errors="ignore")
    return frame.sort_values(["cell_id", "step"], ignore_index=True)


def assert_trained_as_if_nothing_had_happened(folder: Path, undisturbed: Path) -> None:
    pd.testing.assert_frame_equal(results(folder), results(undisturbed), check_exact=True)
    pd.testing.assert_frame_equal(curves(folder), curves(undisturbed), check_exact=True)
    pictures = [sorted((each / "killed" / "artifacts").glob("*/*.png")) for each in (folder, undisturbed)]
    assert len(pictures[0]) == 2
    assert [path.read_bytes() for path in pictures[0]] == [path.read_bytes() for path in pictures[1]]
    assert not checkpoints(folder)


def test_a_training_whose_driver_is_killed_resumes_anywhere_to_the_same_bytes(
    tmp_path: Path, undisturbed_training: Path, mark: str
) -> None:
    process = start(tmp_path, text=LEARNED)
    wait_for_checkpoints(tmp_path, 2)
    process.kill()
    process.wait()
    assert rows_written(tmp_path) == 0
    assert len(checkpoints(tmp_path)) == 2
    run_here(tmp_path, text=LEARNED)
    assert_trained_as_if_nothing_had_happened(tmp_path, undisturbed_training)


def test_a_training_whose_worker_is_killed_resumes_to_the_same_bytes(
    tmp_path: Path, undisturbed_training: Path, mark: str
) -> None:
    process = start(tmp_path, text=LEARNED)
    wait_for_checkpoints(tmp_path, 1)
    workers = processes(mark, lambda command: "Trainable" in command)
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    code, output = finish(process)
    assert code == 0, output
    assert_trained_as_if_nothing_had_happened(tmp_path, undisturbed_training)


@pytest.mark.parametrize("service", ["gcs_server", "raylet/raylet"])
def test_a_sweep_whose_ray_is_killed_says_so_and_leaves_nothing_but_its_rows(
    service: str, tmp_path: Path, undisturbed: pd.DataFrame, mark: str, temporary: Path
) -> None:
    process = start(tmp_path)
    wait_for_rows(tmp_path, 20)
    (folder,) = rays_folders(temporary)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # Ray's own folders are below, in mode 0777
    (victim,) = processes(mark, lambda command: service in command.partition("\0")[0])
    os.kill(victim, signal.SIGKILL if service == "gcs_server" else signal.SIGTERM)
    code, output = finish(process)
    assert code == 4, output
    assert re.search("^.* is gone: .*; the same command resumes from here$", output, re.MULTILINE), output
    assert "Traceback" not in output
    assert rays_folders(temporary) == []
    assert processes(mark, lambda _: True) == []
    assert not rows(tmp_path).empty
    assert_completed_by_the_same_command(tmp_path, undisturbed)


def test_a_training_keeps_a_checkpoint_when_its_terminal_closes(tmp_path: Path, mark: str, temporary: Path) -> None:
    text = LEARNED.replace("steps: 500", "steps: 50000").replace("checkpoint_seconds: 0.2", "checkpoint_seconds: 9999")
    process = start(tmp_path, text=text)
    assert process.stdout is not None
    for line in process.stdout:
        if " left" in line and "unknown" not in line and "about" not in line:  # one part in a hundred is done
            break
    assert not checkpoints(tmp_path)
    for _ in range(2):  # the system tells each process, and so does the shell
        os.killpg(process.pid, signal.SIGHUP)
    code, output = finish(process)
    assert code == 130, output
    assert len(checkpoints(tmp_path)) == 2
    assert rays_folders(temporary) == []
    assert processes(mark, lambda _: True) == []


def test_a_search_stops_early_what_falls_behind_and_survives_its_driver(tmp_path: Path, mark: str) -> None:
    process = start(tmp_path, text=SEARCH)
    wait_for_rows(tmp_path, 2)
    process.kill()
    process.wait()
    code, output = finish(start(tmp_path, text=SEARCH))
    assert code == 0, output
    assert " stopped early, of 6 wanted" in output
    allowed = ("killed:", "expected time:", "  best:", "results:", "journal:", "next:")
    lines = [line for line in output.splitlines() if " of 6 suggestions, " not in line]
    assert all(line.startswith(allowed) or " suggestions, 0 failed" in line for line in lines), output
    rows = results(tmp_path)
    # A kill in the moment in which one was being drawn costs its number, and nothing else.
    assert rows["search_suggestion"].nunique() == 6
    assert rows["search_suggestion"].max() <= 6
    stopped, finished = rows[rows["status"] == "stopped"], rows[rows["status"] == "ok"]
    assert len(stopped) + len(finished) == len(rows)
    assert len(stopped) >= 1
    assert (stopped["seed"] == 0).all()
    assert stopped["total_bits_per_dim_unigram"].isna().all()
    assert not set(stopped["search_suggestion"]) & set(finished["search_suggestion"])
    assert (finished["search_objective"] == finished["total_bits_per_dim_unigram"]).all()
    assert finished.groupby("search_suggestion")["seed"].apply(sorted).map(len).ge(2).all()
    last = pd.read_parquet(tmp_path / "killed" / "curves").groupby("cell_id")["step"].max()
    assert (stopped.set_index("cell_id")["search_stopped_at_step"] == last[stopped["cell_id"]]).all()
    assert (stopped["search_stopped_at_step"] < 100).all()
    assert (last[finished["cell_id"]] == 100).all()
    checkpoints = tmp_path / "killed" / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.iterdir())


FAULTS = """\
import os, signal
from pathlib import Path
from dvq_ray.execution.tune import oom_kills
from dvq_ray.fitting import fit
original, kills = fit._problem, Path(os.environ["KILLS"])
oom_kills._counters = lambda root: [kills]  # the kernel's own count
def count():
    return int(kills.read_text().split()[1])
class Error(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.file = open(os.devnull)
def faulty(quantizer, start, training, data):
    seed = data.seed
    if seed == 1:
        kills.write_text(f"oom_kill {count() + 1}\\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 2:
        os._exit(1)
    if seed == 3:
        raise SystemExit("no more")
    if seed == 4:
        raise Error("\\x1b[31mred\\x1b[0m \\0 \\udcff", None)
    return original(quantizer, start, training, data)
fit._problem = faulty
"""
"""sitecustomize is imported by every Python process, so the workers' too."""


def test_a_cell_that_kills_its_worker_or_fails_oddly_is_a_row_and_takes_no_other_cell_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    (tmp_path / "kills").write_text("oom_kill 7\n")
    monkeypatch.setenv("KILLS", str(tmp_path / "kills"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    text = SWEEP.replace("20000", "20").replace("seeds: 60", "seeds: 6").replace(", slices: [2, 4]}", ", slices: 2}")
    code, output = finish(start(tmp_path, "--max-concurrent", "1", "--set", "grids.slices.seeds=[5]", text=text))
    assert code == 1, output
    assert "worker" not in output.replace("the worker died", "")  # Ray tells of it too
    rows = pd.read_parquet(tmp_path / "killed" / "cells").set_index("seed")
    assert len(rows) == 7
    failed = rows[rows["status"] != "ok"]
    assert failed["status"].to_dict() == {1: "out_of_memory", 2: "error", 3: "error", 4: "error"}
    first_lines = failed["error"].str.partition("\n")[0].to_dict()
    assert first_lines[1].startswith("the worker died while the kernel killed 1 process on ")
    assert first_lines[2] == "the worker died before the cell was done"
    assert first_lines[3] == "SystemExit: no more"
    assert first_lines[4] == "sitecustomize.Error: red  \\udcff"
    assert int((tmp_path / "kills").read_text().split()[1]) - 7 <= 4  # a few tries are enough


def test_a_spent_budget_ends_a_sweep_between_cells(tmp_path: Path) -> None:
    code, output = finish(start(tmp_path, "--time-budget", "10s", "--set", "seeds=5000", "--max-concurrent", "1"))
    assert code == 3, output
    assert "the time budget of 10 s is spent: the same command resumes with the" in output
    assert set(results(tmp_path)["status"]) == {"ok"}


def test_a_store_that_cannot_be_written_ends_the_sweep_and_no_cell_is_said_to_have_failed(
    tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    process = start(tmp_path)
    wait_for_rows(tmp_path, 3)
    cells, kept = tmp_path / "killed" / "cells", tmp_path / "kept"
    cells.rename(kept)
    cells.write_text("in the way")
    code, output = finish(process)
    assert code == 2, output
    assert f"{cells}" in output
    assert "The same command resumes once that is fixed." in output
    cells.unlink()
    kept.rename(cells)
    assert set(rows(tmp_path)["status"]) == {"ok"}
    assert_completed_by_the_same_command(tmp_path, undisturbed)


def test_a_trial_that_needs_more_than_there_is_is_reported_at_once(tmp_path: Path) -> None:
    code, output = finish(start(tmp_path, "--set", "resources.gpu=4"))
    assert code == 2
    assert "resources.gpu is 4, and this machine has 0 GPUs" in output
    assert not (tmp_path / "killed").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("127.0.0.1:99999", "127.0.0.1:99999 is not the address of a Ray cluster"),
        ("http://127.0.0.1:8265/", "http://127.0.0.1:8265/ is the address of a dashboard; write 127.0.0.1:6379"),
    ],
)
def test_an_unreachable_cluster_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    code, output = finish(start(tmp_path))
    assert code == 2, output
    assert said in output.splitlines()[-1]
    assert not (tmp_path / "killed").exists()
