"""`--dry-run`: the exit code that the run would have, and nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import parse_sweep
from dvq_ray.text import span
from tests.object_storage import serving
from tests.sweep_files import SEARCH, TINY, write, write_pictures

DIVERGES = ("--set", "learning_rate=1e38", "--set", "schedule=constant")
OF_IMAGES = """\
name: tiny
trainable: learned_prior
fixed: {image_size: 8, dimension: 4, codebook_size: 4, stem_channels: 4, body_channels: 4, residual_channels: 4,
        logistic_mixtures: 1, downsamplings: 1, batch_size: 2, steps: 1, dataset: mine}
data: {mine: {format: folder, train: FOLDER/train, test: FOLDER/test}}
grids: {plain: {quantizer: vq}}
"""
FEW = SEARCH.replace("suggestions: 5", "suggestions: 2")


def run(folder: Path, text: str, *arguments: str) -> Result:
    path = folder / "sweep.yaml"
    text = text.replace("FOLDER", str(folder))
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return CliRunner().invoke(sweep, [str(path), "--results", str(folder / "results"), *arguments])


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def nothing(folder: Path) -> None: ...


def all_done(folder: Path) -> None:
    assert run(folder, TINY, "--in-process").exit_code == 0


def all_failed(folder: Path) -> None:
    assert run(folder, TINY, "--in-process", *DIVERGES).exit_code == 1


def searched(folder: Path) -> None:
    assert run(folder, FEW, "--in-process").exit_code == 0


def search_failed(folder: Path) -> None:
    assert run(folder, FEW, "--in-process", *DIVERGES).exit_code == 1


def file_in_the_way(folder: Path) -> None:
    (folder / "results").write_text("a file")


def dangling_link(folder: Path) -> None:
    (folder / "results").symlink_to(folder / "nowhere")


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "text", "arguments", "code"),
    [
        (nothing, TINY, (), 0),
        (all_done, TINY, (), 0),
        (all_failed, TINY, DIVERGES, 1),
        (all_failed, TINY, (*DIVERGES, "--set", "seeds=3"), 0),
        (all_failed, TINY, (*DIVERGES, "--retry-failed"), 0),
        (write_pictures, OF_IMAGES, (), 0),
        (nothing, OF_IMAGES, (), 2),
        (nothing, TINY, ("--set", "resources.gpu=1"), 2),
        (all_done, TINY, ("--set", "resources.gpu=1"), 0),
        (file_in_the_way, TINY, (), 2),
        (dangling_link, TINY, (), 2),
        (file_in_the_way, FEW, (), 2),
        (nothing, FEW, (), 0),
        (searched, FEW, (), 0),
        (search_failed, FEW, DIVERGES, 1),
        (search_failed, FEW, (*DIVERGES, "--retry-failed"), 0),
        (nothing, FEW, ("--set", "resources.gpu=1"), 2),
        (nothing, TINY, ("--set", "seeds=0"), 2),
    ],
)
def test_a_dry_run_exits_as_the_run_would_and_writes_nothing(
    tmp_path: Path, before: Callable[[Path], None], text: str, arguments: tuple[str, ...], code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before(tmp_path)
    write(tmp_path, text.replace("FOLDER", str(tmp_path)))
    there = contents(tmp_path)
    dry = run(tmp_path, text, "--in-process", "--dry-run", *arguments)
    assert dry.exit_code == code, dry.output
    assert contents(tmp_path) == there
    real = run(tmp_path, text, "--in-process", *arguments)
    if code == 0 and set(arguments) >= set(DIVERGES):
        assert real.exit_code == 1  # it started, and its cells failed
    else:
        assert real.exit_code == code, real.output
    if code == 2:
        assert "Traceback" not in dry.output


@pytest.mark.parametrize("text", [TINY, FEW])
def test_a_dry_run_under_ray_knows_what_this_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("dvq_ray.execution.tune.under_tune.usable_cores", lambda: 4)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert run(tmp_path, text, "--dry-run").exit_code == 0
    assert run(tmp_path, text, "--dry-run", "--set", "resources={cpu: 4, gpu: 1}").exit_code == 0
    for resources, wrong in (("cpu: 5", "resources.cpu is 5"), ("gpu: 2", "resources.gpu is 2")):
        result = run(tmp_path, text, "--dry-run", "--set", f"resources={{{resources}}}")
        assert result.exit_code == 2
        assert wrong in result.stderr


def test_a_cluster_that_does_not_answer_is_reported_by_a_dry_run(tmp_path: Path) -> None:
    result = run(tmp_path, TINY, "--dry-run", "--address", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "127.0.0.1:1" in result.stderr


def test_a_folder_without_the_right_to_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.store.disk.os.access", lambda path, mode: not (mode & os.W_OK))
    result = run(tmp_path, TINY, "--dry-run", "--in-process")
    assert result.exit_code == 2
    assert f"{tmp_path}: permission denied" in result.stderr


def test_the_first_estimate_is_marked_as_nominal(tmp_path: Path) -> None:
    text = TINY.replace("steps: 20", "steps: 40_000_000")
    seconds = sum(cell.nominal_seconds() for cell in expand(parse_sweep(text, "tiny.yaml"))[0])
    result = run(tmp_path, text, "--dry-run", "--max-concurrent", "3")
    assert f"about {span(seconds / 3)} with 3 at a time, at nominal speed, not measured here\n" in result.output
    text = FEW.replace("steps: 20", "steps: 40_000_000")
    result = run(tmp_path, text, "--dry-run", "--max-concurrent", "3")
    assert "to run: 2 suggestions; expected time: about " in result.output
    assert "with 3 at a time, at nominal speed, not measured here\n" in result.output


def test_a_dry_run_on_object_storage_writes_nothing(tmp_path: Path) -> None:
    with serving() as storage:
        arguments = [str(write(tmp_path)), "--results", storage.uri(), "--dry-run", "--in-process"]
        before = len(storage.requests)
        result = CliRunner().invoke(sweep, arguments)
        assert result.exit_code == 0, result.output
        assert {request[0] for request in storage.requests[before:]} <= {"GET", "HEAD"}
