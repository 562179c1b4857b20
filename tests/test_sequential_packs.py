"""Sweeps whose repetitions are added until they suffice: from the file to the store, however they are run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from dvq_ray import SweepProgress, inference, load_results, plan, run_sweep
from dvq_ray.cli.rerun import main as rerun
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.execution.executor import PackSource
from dvq_ray.execution.job import Job
from dvq_ray.execution.pack import failed_row, run_pack
from dvq_ray.execution.sequential_packs import SequentialPacks, packs_of
from dvq_ray.store import Store, StoreError
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.coverage import Coverage, coverage
from dvq_ray.sweep.plan import load_rows, make_plan
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.testing import PackSourceContract
from dvq_ray.testing.packs import SLOTS
from tests.sweep_files import TINY, write

NOISY = """\
name: tiny
trainable: tests.noisy:EXPERIMENT
seeds: {least: 8, most: 64, until: {compare: ["tests.noisy:Plain", "tests.noisy:Better", "tests.noisy:Same"],
                                    at: equal_bits, margin: 5%}}
grids:
  plain: {quantizer: "tests.noisy:Plain", place: [10, 20], noise: [0.1, 1.0]}
  better: {quantizer: "tests.noisy:Better", place: [10, 20], noise: [0.1, 1.0]}
  same: {quantizer: "tests.noisy:Same", place: [10, 20], noise: [0.1, 1.0]}
  lonely: {quantizer: "tests.noisy:Better", place: 30}
"""
TWO_PAIRS = """\
name: tiny
trainable: tests.noisy:EXPERIMENT
seeds: {least: 8, most: 16, until: {compare: ["tests.noisy:Plain", "tests.noisy:Same", "tests.noisy:Better"],
                                    at: equal_bits}}
grids:
  plain: {quantizer: ["tests.noisy:Plain", "tests.noisy:Same"]}
  better: {quantizer: "tests.noisy:Better", noise: 0.1}
"""
PRECISE = """\
name: tiny
trainable: tests.noisy:EXPERIMENT
seeds: {first: 100, least: 4, most: 32, until: {half_width: 10%}}
grids: {plain: {quantizer: "tests.noisy:Plain", place: [10, 100], noise: [0.1, 1.0]}}
"""


class TestSequentialPacks(PackSourceContract):
    text = TWO_PAIRS

    def source(self, job: Job) -> PackSource:
        spec = parse_sweep(self.text, "tiny.yaml")
        found = packs_of(make_plan(spec, job.store, retry_failed=False), job, SLOTS)
        assert isinstance(found, SequentialPacks)
        return found


class TestSequentialPacksOfPoints(TestSequentialPacks):
    text = PRECISE

    def test_a_look_that_is_complete_waits_for_no_other(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)
        source = self.source(job)
        *packs, slow = iter(source.next, None)
        for pack in packs:
            for _ in run_pack(pack, job.store, job.run, job.surroundings):
                pass
            source.ended(pack)
        further = source.next()
        assert further is not None
        assert {cell.point.point_id for cell in further.cells}.isdisjoint(cell.point.point_id for cell in slow.cells)
        assert not source.finished

    def test_reading_a_slow_store_takes_a_tenth_of_the_time_while_something_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, reads = [100.0], list[float]()

        def slow(*arguments: Any) -> pd.DataFrame:
            reads.append(now[0])
            now[0] += 1.0
            return load_rows(*arguments)

        monkeypatch.setattr("dvq_ray.execution.sequential_packs.load_rows", slow)
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        job = self.job(tmp_path)
        source = self.source(job)
        *packs, _ = iter(source.next, None)
        while len(reads) < 3:
            for pack in packs:
                for _ in run_pack(pack, job.store, job.run, job.surroundings):
                    pass
                source.ended(pack)
            packs = [*iter(source.next, None)]
            now[0] += 0.5
        assert [after - before for before, after in pairwise(reads)] == pytest.approx([10.0, 10.0], abs=0.5)


class TestGridPacks(PackSourceContract):
    def source(self, job: Job) -> PackSource:
        return packs_of(
            make_plan(parse_sweep(TINY.replace("seeds: 2", "seeds: 3"), "tiny.yaml"), job.store, retry_failed=False),
            job,
            SLOTS,
        )


def run(folder: Path, *arguments: str, text: str = NOISY) -> Result:
    path = write(folder, text)
    return CliRunner().invoke(sweep, [str(path), "--results", str(folder / "results"), "--in-process", *arguments])


def store_of(folder: Path) -> Store:
    return Store(folder / "results" / "tiny")


def decisions(folder: Path) -> dict[tuple[str, str], str]:
    frame = store_of(folder).load_looks()
    return dict(zip(zip(frame["point_id"], frame["partner_point_id"], strict=True), frame["decision"], strict=True))


def repetitions(folder: Path) -> dict[str, int]:
    return {
        str(point_id): int(count)
        for point_id, count in store_of(folder).load(["point_id"])["point_id"].value_counts().items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that nothing disturbed. Tests only read its store."""
    folder = tmp_path_factory.mktemp("whole")
    result = run(folder)
    assert result.exit_code == 0, result.output
    return folder


def test_points_have_as_many_repetitions_as_their_pairs_need(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    found = pd.read_parquet(tmp_path / "results" / "tiny" / "looks").set_index(["point_id", "partner_point_id"])
    assert len(found) == 12
    assert {*found["decision"]} <= {"win", "loss", "equal", "most reached"}
    by_names = found.groupby(["quantizer", "partner_quantizer"])["decision"].agg(set)
    assert by_names["tests.noisy:Plain", "tests.noisy:Better"] == {"loss"}
    assert "equal" in by_names["tests.noisy:Plain", "tests.noisy:Same"]
    assert not by_names["tests.noisy:Plain", "tests.noisy:Same"] & {"win", "loss"}
    assert len({*found["looks"]}) > 1
    needed: dict[str, int] = {}
    steps = inference.looks(8, 64)
    for look in found.reset_index().itertuples():
        for each in (str(look.point_id), str(look.partner_point_id)):
            needed[each] = max(needed.get(each, 0), steps[int(str(look.looks)) - 1])
    (lonely,) = repetitions(tmp_path).keys() - needed.keys()
    assert repetitions(tmp_path) == {**needed, lonely: 8}
    cells = sum(needed.values()) + 8
    assert f"tiny: {cells} of {cells} cells done, 0 failed" in result.output
    assert f"cells: {cells} of at most 832 needed, {832 - cells} saved" in result.output
    assert "12 pairs decided" in result.output
    assert "1 point without a partner, with 8 repetitions each" in result.output


def test_a_finished_sweep_runs_nothing_and_everything_says_so(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = store_of(tmp_path).load_looks()
    again = run(tmp_path)
    assert again.exit_code == 0
    assert "cells to run" not in again.output
    pd.testing.assert_frame_equal(store_of(tmp_path).load_looks(), before)
    location = str(tmp_path / "results" / "tiny")
    told = CliRunner().invoke(status, [location])
    assert told.exit_code == 0, told.output
    words = " ".join(told.output.split())
    assert "of 12 pairs decided" in words
    assert f"{sum(repetitions(tmp_path).values())} of at most 832 needed" in words
    found = coverage(Store(location))
    assert isinstance(found, Coverage)
    assert (found.wanted, found.missing, found.unwanted) == (sum(repetitions(tmp_path).values()), 0, 0)
    cell = next(iter(Store(location).statuses()))
    assert CliRunner().invoke(rerun, [location, cell]).exit_code == 0


def test_a_dry_run_tells_what_is_undecided_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "--dry-run")
    assert result.exit_code == 0
    assert "0 of 12 pairs decided; 12 undecided; 1 point without a partner, with 8 repetitions each" in result.output
    assert "cells: 104 needed so far, at most 832" in result.output
    assert "to run: 104 cells" in result.output
    assert "cannot decide" not in result.output
    assert "looks at 4 repetitions cannot decide" in run(tmp_path, "--dry-run", "--set", "seeds.least=4").output
    assert "; up to 728 may follow" in result.output
    assert not (tmp_path / "results").exists()


def test_a_sweep_that_a_budget_cut_off_is_resumed_to_the_same_cells(tmp_path: Path, whole: Path) -> None:
    codes = []
    for _ in range(100):
        result = run(tmp_path, "--time-budget", "0.2s")
        codes.append(result.exit_code)
        if result.exit_code == 0:
            break
        told = CliRunner().invoke(status, [str(tmp_path / "results" / "tiny")])
        assert told.exit_code == 3, told.output
    assert {*codes} == {0, 3}
    assert store_of(tmp_path).statuses() == store_of(whole).statuses()
    assert decisions(tmp_path) == decisions(whole)


def test_more_repetitions_at_most_go_on_from_what_is_there(tmp_path: Path, whole: Path) -> None:
    run(tmp_path, "--set", "seeds.most=8")
    assert "most reached" in decisions(tmp_path).values()
    before = store_of(tmp_path).load()
    run(tmp_path)
    after = store_of(tmp_path).load().set_index("cell_id").loc[before["cell_id"]].reset_index()
    pd.testing.assert_frame_equal(after, before)
    assert decisions(tmp_path) == decisions(whole)
    assert store_of(tmp_path).statuses() == store_of(whole).statuses()


def test_repetitions_that_are_at_hand_are_looked_at_and_only_missing_ones_are_run(tmp_path: Path, whole: Path) -> None:
    run(tmp_path, "--set", "seeds=64")
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "cells to run" not in result.output
    needed = decisions(tmp_path)
    assert needed == decisions(whole)
    dry = run(tmp_path, "--dry-run")
    assert f"no longer wanted: {832 - sum(repetitions(whole).values())} cells" in dry.output


def test_means_are_known_as_well_as_was_asked_for(tmp_path: Path) -> None:
    result = run(tmp_path, text=PRECISE)
    assert result.exit_code == 0, result.output
    looks = store_of(tmp_path).load_looks()
    assert {*looks["decision"]} == {"reached"}
    assert looks["partner_point_id"].isna().all()
    assert ((looks["high"] - looks["low"]) / 2 <= 0.1 * looks["estimate"]).all()
    cells = store_of(tmp_path).load(["point_id", "seed", "loss"])
    assert cells["seed"].min() == 100
    assert looks.set_index("point_id")["estimate"].to_dict() == pytest.approx(
        cells.groupby("point_id")["loss"].mean().to_dict()
    )
    assert "4 of 4 points decided; 0 undecided" in result.output


def test_failed_repetitions_are_left_out_and_a_point_without_enough_of_them_is_reported(tmp_path: Path) -> None:
    text = PRECISE.replace("noise: [0.1, 1.0]", "breaks: [101, 103, -1]")
    result = run(tmp_path, text=text)
    assert result.exit_code == 1
    looks = store_of(tmp_path).load_looks().sort_values("n")
    assert [*looks["decision"]].count("too few finished") == 2
    assert {*looks.loc[looks["decision"] == "too few finished", "n"]} == {1}
    assert "2 with fewer than 2 repetitions that finished" in result.output
    (tmp_path / "again").mkdir()
    again = run(tmp_path, text=text)
    assert "cells to run" not in again.output
    assert again.exit_code == 1


def test_failed_cells_that_are_tried_again_decide_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").mkdir()
    run(tmp_path / "whole", text=PRECISE)
    from tests import noisy

    value = noisy.NoisySettings.value

    def broken(settings: Any, seed: int) -> float:
        if seed in (100, 101, 102, 103):
            raise OSError("not now")
        return value(settings, seed)

    with monkeypatch.context() as patch:
        patch.setattr(noisy.NoisySettings, "value", broken)
        assert run(tmp_path, text=PRECISE).exit_code == 1
    assert {*store_of(tmp_path).load_looks()["decision"]} == {"too few finished"}
    result = run(tmp_path, "--retry-failed", text=PRECISE)
    assert result.exit_code == 0, result.output
    assert decisions(tmp_path) == decisions(tmp_path / "whole")
    assert store_of(tmp_path).statuses() == store_of(tmp_path / "whole").statuses()


class Meddling(SequentialPacks):
    """Lets another driver write rows of its own in between."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.other = Run.start("tiny")

    def next(self) -> Any:
        pack = super().next()
        if pack is not None:
            cell = pack.cells[0]
            self._job.store.write_cell(cell.point.experiment, failed_row(cell, self.other, "error", "theirs"), ())
            self._job.store.merge()
        return pack


@pytest.mark.long
def test_what_another_driver_writes_meanwhile_does_no_harm(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dvq_ray.execution.sequential_packs.SequentialPacks", Meddling)
        assert run(tmp_path).exit_code == 0
    assert store_of(tmp_path).statuses() == store_of(whole).statuses()
    assert decisions(tmp_path) == decisions(whole)


@pytest.mark.long
def test_two_drivers_at_once_come_to_the_same_decisions(tmp_path: Path, whole: Path) -> None:
    path = write(tmp_path)
    path.write_text(NOISY)
    command = [sys.executable, "-m", "dvq_ray.sweep", str(path), "--results", str(tmp_path / "results"), "--in-process"]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [driver.wait(120) for driver in drivers] == [0, 0]
    assert store_of(tmp_path).statuses() == store_of(whole).statuses()
    assert decisions(tmp_path) == decisions(whole)


def test_a_sweep_from_python_says_the_same(tmp_path: Path) -> None:
    quantizers = [f"tests.noisy:{name}" for name in ("Plain", "Better")]
    seeds = {"least": 8, "most": 64, "until": {"compare": quantizers, "at": "equal_bits"}}
    mine = {
        "name": "tiny",
        "trainable": "tests.noisy:EXPERIMENT",
        "seeds": seeds,
        "grids": {"all": {"quantizer": quantizers}},
    }
    before = plan(mine, results=tmp_path)
    assert (before.cells, before.missing, before.cells_at_most) == (16, 16, 128)
    assert [*before.looks["decision"]] == ["undecided"]
    seen: list[SweepProgress] = []
    rows = run_sweep(mine, results=tmp_path, in_process=True, progress=seen.append)
    after = plan(mine, results=tmp_path)
    assert (after.cells, after.missing) == (len(rows), 0)
    assert [*after.looks["decision"]] == ["loss"]
    assert (seen[-1].done, seen[-1].total) == (len(rows), len(rows))
    pd.testing.assert_frame_equal(Store(tmp_path / "tiny").load_looks(), after.looks)
    assert plan({**mine, "seeds": 3}, results=tmp_path).looks.empty


def test_a_broken_record_is_named_and_written_anew(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = store_of(tmp_path).load_looks()
    (file,) = (tmp_path / "results" / "tiny" / "looks").iterdir()
    file.write_bytes(b"broken")
    with pytest.raises(StoreError, match=r"looks\.parquet cannot be read"):
        store_of(tmp_path).load_looks()
    assert CliRunner().invoke(status, [str(tmp_path / "results" / "tiny")]).exit_code == 0
    assert run(tmp_path).exit_code == 0
    pd.testing.assert_frame_equal(store_of(tmp_path).load_looks(), before)


def test_a_store_without_looks_has_none(tmp_path: Path) -> None:
    assert store_of(tmp_path).load_looks().empty


def test_a_store_of_another_trainable_does_no_harm(tmp_path: Path) -> None:
    assert run(tmp_path, text=TINY).exit_code == 0
    result = run(tmp_path, text=TWO_PAIRS)
    assert result.exit_code == 0, result.output
    told = CliRunner().invoke(status, [str(tmp_path / "results" / "tiny")])
    assert told.exit_code == 0
    assert "8 rows of cells that the sweep file does not name" in " ".join(told.output.split())


def test_few_reads_of_the_store_decide_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    look = SequentialPacks._look

    def counted(self: SequentialPacks) -> None:
        reads.append(1)
        look(self)

    monkeypatch.setattr(SequentialPacks, "_look", counted)
    run(tmp_path)
    assert len(reads) <= len(inference.looks(8, 64)) + 1


UNDER_RAY = """\
name: tiny
trainable: static_prior
seeds: {least: 8, most: 16, until: {compare: [vq, dvq], at: equal_bits}}
fixed: {dimension: 4, factors: 8, train_samples: 64, steps: 20}
grids:
  vq: {quantizer: vq, codebook_size: [4, 16, 64]}
  dvq: {quantizer: dvq, codebook_size: [2, 4, 8], slices: 2}
"""


@pytest.mark.ray
def test_a_sweep_under_ray_comes_to_the_same_cells_and_decisions(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert run(tmp_path / "here", text=UNDER_RAY).exit_code == 0
    path = write(tmp_path, UNDER_RAY)
    command = [sys.executable, "-m", "dvq_ray.sweep", str(path), "--results", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 pairs decided" in done.stdout
    assert store_of(tmp_path).statuses() == store_of(tmp_path / "here").statuses()
    pd.testing.assert_frame_equal(store_of(tmp_path).load_looks(), store_of(tmp_path / "here").load_looks())
    assert {*decisions(tmp_path).values()} - {"win", "loss", "most reached"} == set()
    assert len(load_results(tmp_path / "results" / "tiny")) == len(store_of(tmp_path).statuses())
