"""Small data sets that real users stumbled over, as the command line sees them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dvq_ray.cli.sweep import main as sweep
from tests.sweep_files import write, write_pictures

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"
shared = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not on this machine")


def run(path: Path, results: Path, *arguments: str) -> Result:
    return CliRunner().invoke(sweep, [str(path), "--results", str(results), "--in-process", *arguments])


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from which the cases name their files


REJECTED = {
    "11-hf-path-only/late": "row 3 (from 0): expected an encoded image; found null bytes, and in image.path /data/3",
    "11-hf-path-only/paths": "6 of 6 images: expected an encoded image; found null bytes, and in image.path /data/0",
    "15-multiframe/png": "6 of 6 images: expected a single image; found 3 frames in 0.png",
    "15-multiframe/tif": "2 of 2 images: expected a single image; found several pages in 0.tif",
    "15-multiframe/webp": "6 of 6 images: expected a single image; found 3 frames in 0.webp",
    "17-split-overlap/glob": "found 1 of 1 that are: ../shared/cases/17-split-overlap/test-0.parquet",
    "17-split-overlap/glob2": "found 1 of 1 that are: ../shared/cases/17-split-overlap/test-0.parquet",
    "17-split-overlap/nested": "found 2 of 2 that are: ../shared/cases/17-split-overlap/pics/test/000.png",
    "17-split-overlap/same": "found 8 of 8 that are: ../shared/cases/17-split-overlap/pics/000.png",
}


@shared
@pytest.mark.parametrize(("case", "message"), REJECTED.items(), ids=REJECTED.keys())
def test_images_that_would_mislead_are_rejected_before_the_start(case: str, message: str, tmp_path: Path) -> None:
    result = run(CASES / f"{case}.yaml", tmp_path / "results")
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "results").exists()


@pytest.mark.long
@shared
@pytest.mark.parametrize(
    "case", ["05-exif/sweep", "13-appledouble/sweep", "13-appledouble/macosx", "25-flat-images/plain", "27-rgba/sweep"]
)
def test_images_that_can_be_used_are_trained_on(case: str, tmp_path: Path) -> None:
    result = run(CASES / f"{case}.yaml", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert "2 of 2 cells done, 0 failed" in result.output


@shared
def test_paths_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(CASES / "04-tilde" / "home"))
    assert run(CASES / "04-tilde" / "sweep.yaml", tmp_path / "results").exit_code == 0


@shared
def test_columns_with_dots_are_read_where_both_splits_may_be_one_file(tmp_path: Path) -> None:
    path = CASES / "33-dotted-columns" / "sweep.yaml"
    assert run(path, tmp_path / "results").exit_code == 2
    assert run(path, tmp_path / "results", "--set", "data.mine.overlap=allowed").exit_code == 0


@shared
@pytest.mark.parametrize("number", ["", "2", "3"])
def test_names_that_are_not_utf8_are_read_or_shown_with_escapes(number: str, tmp_path: Path) -> None:
    shutil.copytree(CASES / "34-non-utf8-names", tmp_path / "case")
    folder = os.fsencode(tmp_path / "case" / f"train{number}")
    os.rename(folder + b"/rename_me.png", folder + b"/z\xe4.png")
    text = (tmp_path / "case" / f"sweep{number}.yaml").read_text()
    text = text.replace("../shared/cases/34-non-utf8-names", str(tmp_path / "case"))
    result = run(write(tmp_path, text), tmp_path / "results")
    assert result.exit_code == (2 if number else 0), result.output
    assert ("z\\xe4.png: expected" in result.output) == bool(number)


LEARNED = """\
name: tiny
trainable: learned_prior
fixed: {image_size: 8, dimension: 4, codebook_size: 4, dataset: mine, quantizer: vq}
data: {mine: {format: folder, train: FOLDER/train, test: FOLDER/test}}
"""


@pytest.mark.parametrize("way", ["grids: {a: {steps: 3}}", "search: {objective: {mse: minimize}, SPACE}"])
def test_skipped_files_are_reported_once(way: str, tmp_path: Path) -> None:
    write_pictures(tmp_path)
    for name in ("a.heic", "b.heic", "c.txt"):
        (tmp_path / "train" / name).write_bytes(b"")
    way = way.replace("SPACE", "suggestions: 1, space: {steps: {low: 1, high: 3}}")
    path = write(tmp_path, LEARNED.replace("FOLDER", str(tmp_path)) + way)
    result = run(path, tmp_path / "results", "--dry-run")
    assert result.exit_code == 0, result.output
    note = f"note: mine: {tmp_path}/train: skipped 3 files by ending: .heic (2), .txt (1); images end in .jpg, "
    assert result.output.count(note) == 1


def test_wrong_sizes_name_the_key_that_helps(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    Image.new("RGB", (20, 9), "red").save(tmp_path / "train" / "wide.png")
    path = write(tmp_path, LEARNED.replace("FOLDER", str(tmp_path)) + "grids: {a: {steps: 2, batch_size: 2}}")
    result = run(path, tmp_path / "results")
    assert result.exit_code == 2
    assert (
        "wide.png: expected an image of 8x8 pixels; found 20x9 (width x height). To scale images, write"
        in result.output
    )
    assert run(path, tmp_path / "results", "--set", "data.mine.fit=crop", "--dry-run").exit_code == 0


def test_a_data_set_in_two_sizes_is_reported_once(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    text = (
        LEARNED.replace("FOLDER/test", "FOLDER/train").replace("FOLDER", str(tmp_path)).replace("image_size: 8, ", "")
    )
    path = write(tmp_path, text + "grids: {a: {image_size: [8, 16]}}")
    result = run(path, tmp_path / "results", "--set", "data.mine.fit=resize")
    assert result.output.count("found 3 of 3 that are: ") == 1
