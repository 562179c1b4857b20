"""What a sweep does about faults that need no Ray: broken files, two drivers at once, clocks that jump."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.sweep import main
from dvq_ray.execution import pack
from dvq_ray.store import Store
from dvq_ray.sweep.spec import load_sweep
from tests.sweep_files import NOT_A_RESULT, write

SWEEP = """\
name: faulty
trainable: static_prior
seeds: 20
fixed: {factors: 8, train_samples: 256, codebook_size: 16, steps: 2000}
grids:
  plain: {quantizer: vq, dimension: [4, 8]}
"""


def run(folder: Path, *arguments: str) -> Result:
    path = write(folder, SWEEP)
    return CliRunner().invoke(main, [str(path), "--results", str(folder), "--in-process", *arguments])


def rows(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "faulty" / "cells").drop(columns=NOT_A_RESULT, errors="ignore")
    assert not frame["cell_id"].duplicated().any()
    return frame.sort_values("cell_id", ignore_index=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder).exit_code == 0
    return rows(folder)


@pytest.mark.long
@pytest.mark.parametrize("content", [b"", b"PAR1 cut off", b"x" * 5000])
def test_a_broken_file_is_set_aside_by_name_and_its_cells_run_again(
    tmp_path: Path, undisturbed: pd.DataFrame, content: bytes
) -> None:
    assert run(tmp_path, "--set", "seeds=5").exit_code == 0
    (whole,) = (tmp_path / "faulty" / "cells").iterdir()
    whole.write_bytes(content)
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert f"warning: {whole}" in result.output
    assert "40 cells to run" in result.output
    (aside,) = (tmp_path / "faulty" / "set_aside" / "cells").iterdir()
    assert aside.read_bytes() == content
    pd.testing.assert_frame_equal(rows(tmp_path), undisturbed, check_exact=True)


def test_a_dry_run_moves_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "--set", "seeds=5").exit_code == 0
    (whole,) = (tmp_path / "faulty" / "cells").iterdir()
    whole.write_bytes(b"")
    result = run(tmp_path, "--dry-run")
    assert result.exit_code == 2
    assert str(whole) in result.output
    assert not (tmp_path / "faulty" / "set_aside").exists()


COUNTED = """
import sys
from dvq_ray.experiments.static_prior import run
from dvq_ray.cli.sweep import main
log, outcome = open(sys.argv.pop(1), "a", buffering=1), run._outcome
run._outcome = lambda *arguments: (log.write("computed\\n"), outcome(*arguments))[1]
main()
"""


@pytest.mark.long
def test_two_drivers_on_one_store_leave_each_cell_once_and_compute_none_twice(
    tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    options = [str(write(tmp_path, SWEEP)), "--results", str(tmp_path), "--in-process"]
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTED, str(log), *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for log in logs
    ]  # fmt: skip
    for driver in drivers:
        output, _ = driver.communicate(timeout=120)
        assert driver.returncode == 0, output
    assert all(len(log.read_text().splitlines()) <= len(undisturbed) for log in logs)
    assert Store(tmp_path / "faulty").missing_curves() == set()
    Store(tmp_path / "faulty").merge()  # the last to end may have been the first to merge
    pd.testing.assert_frame_equal(rows(tmp_path), undisturbed, check_exact=True)


def test_a_clock_that_jumps_changes_no_result(
    tmp_path: Path, undisturbed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = random.Random(0)

    class Jumping:
        @staticmethod
        def now(zone: object) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=jumps.uniform(-400, 400))

    monkeypatch.setattr(pack, "datetime", Jumping)
    assert run(tmp_path, "--set", "seeds=7").exit_code == 0
    assert run(tmp_path).exit_code == 0
    assert run(tmp_path, "--retry-failed").exit_code == 0
    pd.testing.assert_frame_equal(rows(tmp_path), undisturbed, check_exact=True)
    store = Store(tmp_path / "faulty")
    assert set(store.load_curves()["cell_id"]) == set(undisturbed["cell_id"])


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", ".hidden", "a\nb", "/etc", "${HOME}"])
def test_a_sweeps_name_cannot_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, SWEEP.replace("name: faulty", f"name: {name!r}"))
    result = CliRunner().invoke(main, [str(path), "--results", str(tmp_path / "results"), "--in-process"])
    assert result.exit_code == 2, result.output
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("value", ["!!python/object/apply:os.system ['touch hit']", "!!python/name:os.system ''"])
def test_a_sweep_file_is_never_evaluated(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, SWEEP.replace("seeds: 20", f"seeds: {value}"))
    result = CliRunner().invoke(main, [str(path), "--results", str(tmp_path / "results"), "--in-process"])
    assert result.exit_code == 2
    assert str(path) in result.output
    assert not (tmp_path / "hit").exists()


def test_a_kept_sweep_file_runs_again_as_it_is(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    kept = load_sweep(tmp_path / "faulty" / "sweep.yaml")
    assert kept.name == "faulty"


def test_secrets_of_the_environment_reach_no_row_file_or_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cr3t-of-the-environment"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, secret)
    result = run(tmp_path, "--set", "steps=1", "--set", "fixed.learning_rate=1e30")
    assert secret not in result.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in pd.read_parquet(tmp_path / "faulty" / "cells").to_csv()
