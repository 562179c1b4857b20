"""`python -m dvq_ray.status` as a user meets it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.execution.pack import failed_row
from dvq_ray.store import Store
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, expand
from dvq_ray.sweep.spec import SweepSpec, parse_sweep
from dvq_ray.text import span
from tests.object_storage import serving
from tests.sweep_files import SEARCH, TINY, write

RUN = Run(run_id="0" * 32, sweep="tiny", commit="abc")


def told(store: Store) -> Result:
    return CliRunner().invoke(status, [store.location])


def text_of(result: Result) -> str:
    """What was said, without line breaks."""
    return " ".join(result.output.split())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results" / "tiny")
    store.write_sweep(TINY)
    return store


SPEC = parse_sweep(TINY, "tiny.yaml")
CELLS = expand(SPEC)[0]


def done(cell: Cell, *, ended_ago: float, seconds: float, **changes: Any) -> dict[str, Any]:
    started = datetime.now(UTC) - timedelta(seconds=ended_ago + seconds)
    row = {**failed_row(cell, RUN, "error", ""), "status": "ok", "error": None, "run_device": "Intel(R) Xeon(R)"}
    return {**row, "run_started_at": started, "duration_seconds": seconds, **changes}


def fill(store: Store, rows: Sequence[dict[str, Any]], spec: SweepSpec = SPEC) -> None:
    for row in rows:
        store.write_cell(spec.experiment, row, [{"step": 0}])


def test_a_finished_sweep_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    CliRunner().invoke(sweep, [str(write(tmp_path)), "--results", str(tmp_path / "results"), "--in-process"])
    store = Store(tmp_path / "results" / "tiny")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = told(store)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert " ".join(lines[0]) == "tiny: 8 of 8 cells done, 0 failed, 0 missing"
    assert ["plain", "4", "0", "0"] in lines
    assert ["slices", "4", "0", "0"] in lines
    assert lines[-1] == ["next", "python", "-m", "analysis", store.location]
    assert "left" not in result.output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_left_follows_from_measured_durations_and_from_how_many_ran_at_once(store: Store) -> None:
    measured = [cell for cell in CELLS if cell.seed == 0]
    for cell in measured:  # four cells of 100 s in 200 s: two at a time
        later = CELLS.index(cell) % 4 < 2
        fill(store, [done(cell, ended_ago=7200 + (0 if later else 100), seconds=100.0)])
    result = told(store)
    assert result.exit_code == 3
    text = text_of(result)
    assert "4 of 8 cells done, 0 failed, 4 missing" in text
    assert "1.2 cells/min over the last 4 cells (3 min), 2.0 at a time" in text
    assert "left about 3 min with 2 at a time, going by measured durations" in text
    assert "nothing has been finished for 2.0 h; it seems that nothing runs" in text
    assert "0.11 CPU hours" in text
    assert "GPU" not in text


def test_cells_that_do_not_say_which_device_made_them_count_as_on_a_cpu(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=7200, seconds=1800.0, run_device="NVIDIA H200")])
    fill(store, [done(cell, ended_ago=3600, seconds=3600.0, run_device=None) for cell in CELLS[1:3]])
    assert "so far 0.5 GPU hours and 2.0 CPU hours" in text_of(told(store))


def test_the_next_command_that_is_printed_resumes_the_sweep(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=7200, seconds=1.0)])
    label, *command = shlex.split(told(store).output.splitlines()[-1])
    assert (label, *command[:3]) == ("next", "python", "-m", "dvq_ray.sweep")
    assert CliRunner().invoke(sweep, [*command[3:], "--in-process"]).exit_code == 0
    assert told(store).exit_code == 0


def test_a_store_that_was_renamed_continues_under_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "other")
    store.write_sweep(TINY)
    command = shlex.split(told(store).output.splitlines()[-1])[4:]
    assert CliRunner().invoke(sweep, [*command, "--in-process"]).exit_code == 0
    assert told(store).exit_code == 0


def test_a_sweep_that_runs_is_waited_for(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=200, seconds=1.0)])
    result = told(store)
    assert "a cell was finished 3 min ago" in result.output
    assert result.output.splitlines()[-1].split(maxsplit=1) == ["next", "wait; it seems to be running"]


def test_what_was_not_measured_is_nominally_fast_or_as_fast_as_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    text = TINY.replace("steps: 20", "steps: 40_000_000")
    store.write_sweep(text)
    cells = expand(parse_sweep(text, "tiny.yaml"))[0]
    nominal = [cell.nominal_seconds() for cell in cells]
    assert f"left about {span(sum(nominal))} with 1 at a time, at nominal speed, not" in text_of(told(store))
    assert "nothing has been finished yet" in told(store).output
    fill(store, [done(cells[0], ended_ago=200, seconds=2 * nominal[0])])
    half_as_fast = f"about {span(2 * sum(nominal[1:]))} with 1 at a time, going by measured durations of others for dvq"
    assert half_as_fast in text_of(told(store))


def test_on_a_gpu_nominal_speed_says_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY + "resources: {gpu: 1}\n")
    assert "left unknown: nothing was measured yet, and nominal speed is a CPU's" in text_of(told(store))
    fill(store, [done(cell, ended_ago=9, seconds=7200.0) for cell in CELLS[:4]])
    assert "unknown" not in text_of(told(store))


def test_rows_of_another_run_do_not_tell_the_rate(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=86400, seconds=50.0, run_id="1" * 32)])
    fill(store, [done(cell, ended_ago=10, seconds=20.0) for cell in CELLS[1:3]])
    assert "6.0 cells/min over the last 2 cells (20 s), 2.0 at a time" in text_of(told(store))


def test_a_training_that_went_on_from_a_checkpoint_ended_no_later_than_now(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=-90_000, seconds=100_000.0)])  # its last part began 10,000 s ago
    text = text_of(told(store))
    assert "over the last 1 cell (2.8 h), 1.0 at a time" in text
    assert "a cell was finished 0 s ago" in text


@pytest.mark.parametrize(
    ("device", "hours"),
    [
        ("NVIDIA H100 80GB HBM3", "1.0 GPU hours"),
        ("Tesla T4", "1.0 GPU hours"),
        ("AMD Ryzen 7 5800H with Radeon Graphics", "4.0 CPU hours"),
    ],
)
def test_hours_are_those_that_the_trials_held(tmp_path: Path, device: str, hours: str) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY + "resources: {cpu: 2, gpu: 0.5}\n")
    fill(store, [done(CELLS[0], ended_ago=5, seconds=7200.0, run_device=device)])
    assert f"so far {hours}, in cells that were measured" in text_of(told(store))


def failing(cell: Cell, error: str, status: Any = "error") -> dict[str, Any]:
    return failed_row(cell, RUN, status, error)


def test_failures_are_reported_by_kind_with_one_traceback_each_and_how_to_try_one_again(store: Store) -> None:
    frames = "".join(f'  File "f{n}.py", line {n}\n    ^^^~~\n' for n in range(40))
    fill(store, [failing(cell, f"ValueError: cursed {n}\n{frames}") for n, cell in enumerate(CELLS[:3])])
    fill(store, [failing(CELLS[3], "the loss is not finite at step 9", "diverged")])
    fill(store, [failing(CELLS[4], "the loss is not finite at step 12", "diverged")])
    fill(store, [done(cell, ended_ago=5, seconds=1.0) for cell in CELLS[5:]])
    result = told(store)
    assert result.exit_code == 1
    assert "3 of 8 cells done, 5 failed, 0 missing" in result.output
    assert "failed     3 cells, error: ValueError: cursed " in result.output
    assert "failed     2 cells, diverged: the loss is not finite at step " in result.output
    assert "... 32 lines" in result.output
    assert 'File "f39.py", line 39' in result.output
    assert 'File "f31.py"' not in result.output
    assert "^^^" not in result.output
    again = [line.split()[1:] for line in result.output.splitlines() if line.startswith("  again")]
    assert [command[:4] for command in again] == [["python", "-m", "dvq_ray.rerun", store.location]] * 2
    assert again[0][4] in [cell.cell_id for cell in CELLS[:3]]
    assert again[1][4] in [cell.cell_id for cell in CELLS[3:5]]
    assert result.output.splitlines()[-1].endswith("--retry-failed")


def test_kinds_beyond_the_first_few_are_counted(store: Store) -> None:
    fill(store, [failing(cell, f"{name}Error: no") for cell, name in zip(CELLS, "abcdefgh", strict=True)])
    result = told(store)
    assert sum(line.startswith("  again") for line in result.output.splitlines()) == 5
    assert "failed     3 cells of 3 other kinds" in result.output


def test_failed_rows_that_the_sweep_does_not_want_are_not_counted_as_its_failures(store: Store) -> None:
    fill(store, [done(cell, ended_ago=5, seconds=1.0) for cell in CELLS])
    fill(store, [{**failing(CELLS[0], "boom"), "cell_id": "f" * 16}])
    result = told(store)
    assert result.exit_code == 0
    assert "boom" not in result.output
    assert "also       1 rows of cells that the sweep file does not name" in result.output


def test_text_of_a_store_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY.replace("slices: {q", '"[red]gr\\e[2Jid\\nx": {q'))
    hostile = "[bold]E[/bold]\x1b[31m: \x1b]0;title\x07 a\u202eb\x9b2J\rc [/] :smile:\n\x1b[2J  [link=x]line\t2\x00"
    fill(store, [failing(CELLS[0], hostile), {**failing(CELLS[1], "b"), "status": "\x1b[5mnew"}])
    result = told(store)
    assert result.exit_code == 3, result.output
    assert "[red]grid x" in result.output
    assert "1 cell, error: [bold]E[/bold]: ab2Jc [/] :smile:" in text_of(result)
    assert "      [link=x]line  2\n" in result.output
    assert "1 cell, new: b" in result.output
    assert all(each.isprintable() or each == "\n" for each in result.output)


def test_trainings_that_keep_a_checkpoint_are_reported_with_its_age_and_size(store: Store) -> None:
    for cell, age in ((CELLS[0], 200), (CELLS[1], 7200), (CELLS[2], 10), (CELLS[3], 86400)):
        store.write_checkpoint(cell.cell_id, bytes(2_500_000))
        moment = datetime.now().timestamp() - age
        os.utime(Path(store.location, "checkpoints", cell.cell_id), (moment, moment))
    fill(store, [done(CELLS[2], ended_ago=9000, seconds=1.0), failing(CELLS[3], "boom")])
    result = told(store)
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    first = lines.index(f"under way {CELLS[0].cell_id}: 2.5 MB, kept 3 min ago")
    assert lines[first + 1] == f"{CELLS[1].cell_id}: 2.5 MB, kept 2.0 h ago"
    assert lines[first + 2] == f"{CELLS[3].cell_id}: 2.5 MB, kept 24.0 h ago, of a failed cell"
    assert CELLS[2].cell_id not in result.output
    assert "wait; it seems to be running" in result.output


def test_trainings_without_a_sign_of_life_are_cut_off(store: Store) -> None:
    store.write_checkpoint(CELLS[0].cell_id, b"x")
    os.utime(Path(store.location, "checkpoints", CELLS[0].cell_id), (0, 0))
    result = told(store)
    assert f"cut off    {CELLS[0].cell_id}" in result.output
    assert "--results" in result.output.splitlines()[-1]


def test_files_that_were_set_aside_are_counted(store: Store) -> None:
    (Path(store.location) / "cells").mkdir()
    (Path(store.location) / "cells" / "a.parquet").write_bytes(b"no parquet")
    store.set_aside_unreadable()
    store.write_checkpoint(CELLS[0].cell_id, b"no state")
    store.reject_checkpoint(CELLS[0].cell_id)
    text = text_of(told(store))
    assert f"set aside 2 files that could not be read, in {store.location}/checkpoints/unreadable and" in text
    assert f"and {store.location}/set_aside/cells" in text
    assert "under way" not in text


def test_a_store_on_object_storage_is_reported_like_one_in_a_folder() -> None:
    with serving() as storage:
        results = storage.uri()
        store = Store.under(results, "tiny")
        store.write_sweep(TINY)
        fill(store, [done(CELLS[0], ended_ago=7200, seconds=1.0), failing(CELLS[1], "boom")])
        store.write_checkpoint(CELLS[2].cell_id, bytes(2_500_000))
        before = [request for request in storage.requests if request[0] not in ("GET", "HEAD")]
        result = told(store)
        assert [request for request in storage.requests if request[0] not in ("GET", "HEAD")] == before
    assert result.exit_code == 3, result.output
    assert "tiny: 1 of 8 cells done, 1 failed, 6 missing" in result.output
    assert f"under way  {CELLS[2].cell_id}: 2.5 MB, kept " in result.output
    assert "1 cell, error: boom" in result.output
    assert "wait; it seems to be running" in result.output


def test_the_command_for_a_store_under_a_uri_names_where_it_is(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/tiny")
    store.write_sweep(TINY)
    assert told(store).output.splitlines()[-1].endswith(f"sweep SWEEP_FILE --results file://{tmp_path}")


def test_a_store_without_a_sweep_file_says_what_rows_there_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    fill(store, [done(CELLS[0], ended_ago=5, seconds=1.0), failing(CELLS[1], "boom"), failing(CELLS[-1], "boom")])
    result = told(store)
    assert result.exit_code == 1
    assert "3 cells, and no valid sweep file that says which are wanted" in text_of(result)
    lines = [line.split() for line in result.output.splitlines()]
    assert ["static_prior", "vq", "1", "1"] in lines
    assert ["static_prior", "dvq", "0", "1"] in lines
    assert "2 cells, error: boom" in result.output


def test_a_sweep_file_of_another_version_is_reported_after_the_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY.replace("steps", "stepps"))
    fill(store, [done(CELLS[0], ended_ago=200, seconds=1.0)])
    result = told(store)
    assert result.exit_code == 2
    assert "tiny/sweep.yaml:4: fixed.stepps: unknown key; did you mean steps?" in result.stderr
    assert ["static_prior", "vq", "1", "0"] in [line.split() for line in result.output.splitlines()]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("", None, "is not a store: there is no cells/*.parquet and no sweep.yaml in it"),
        ("sweep.yaml", b"\xff\xfe", "can't decode"),
        ("cells/a.parquet", b"no parquet", "a.parquet cannot be read"),
    ],
)
def test_what_is_not_a_store_or_cannot_be_read_is_reported_with_exit_code_2(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    result = told(Store(tmp_path))
    assert result.exit_code == 2
    assert message in result.stderr


def test_facts_fit_into_eighty_columns(store: Store) -> None:
    fill(store, [done(CELLS[0], ended_ago=7200, seconds=1.0), failing(CELLS[1], "ValueError: " + "long " * 60)])
    lines = told(store).output.splitlines()
    assert all(len(line) <= 80 for line in lines if "python -m" not in line)


def searched(folder: Path, text: str = SEARCH) -> Store:
    path = write(folder, text.replace("suggestions: 5", "suggestions: 3"))
    result = CliRunner().invoke(sweep, [str(path), "--results", str(folder), "--in-process"])
    assert result.exit_code == 0, result.output
    return Store(folder / "tiny")


def test_a_search_is_reported_by_its_suggestions_and_the_best_of_them(tmp_path: Path) -> None:
    store = searched(tmp_path)
    result = told(store)
    assert result.exit_code == 0, result.output
    assert "tiny: 3 of 3 suggestions done, 0 failed, 0 missing" in result.output
    assert ["of", "2", "cells", "3", "0", "0", "0"] in [line.split() for line in result.output.splitlines()]
    means = store.load().groupby("slices")["test_mse"].mean()
    assert f"best test_mse {means.min():.4g} (n = 2) at slices={means.idxmin()}" in text_of(result)


@pytest.mark.parametrize("journal", [True, False])
def test_a_search_that_wants_more_says_how_much(tmp_path: Path, journal: bool) -> None:
    text = SEARCH.replace("[1, 2, 4]}", "[1, 2, 4]}\n    steps: {low: 10, high: 90}")
    store = searched(tmp_path, text.replace("steps: 20, ", ""))
    store.write_sweep(text.replace("steps: 20, ", ""))
    if not journal:
        os.remove(tmp_path / "tiny" / "search" / "journal.log")
    result = told(store)
    assert result.exit_code == 3
    assert "tiny: 3 of 5 suggestions done, 0 failed, 2 missing" in result.output
    assert "going by measured durations" in text_of(result)


@pytest.mark.parametrize("journal", [True, False])
def test_a_search_whose_space_is_exhausted_is_done(tmp_path: Path, journal: bool) -> None:
    store = searched(tmp_path)
    store.write_sweep(SEARCH)
    if not journal:
        os.remove(tmp_path / "tiny" / "search" / "journal.log")
    result = told(store)
    assert result.exit_code == 0, result.output
    assert "tiny: 3 of 5 suggestions done, 0 failed, 0 missing" in result.output
    assert "it holds no more than 3 points" in text_of(result)
