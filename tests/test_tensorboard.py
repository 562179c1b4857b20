from __future__ import annotations

import dataclasses
import struct
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from tensorboardX.proto.event_pb2 import Event

from dvq_ray.cli.sweep import main as sweep
from dvq_ray.execution.pack import run_pack
from dvq_ray.execution.tensorboard import FILE_NAME, event_file, followed
from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.store import Store, StoreError
from dvq_ray.store.provenance import Run
from dvq_ray.sweep.cells import Cell, Pack, expand
from dvq_ray.sweep.spec import SweepSpec, load_sweep, parse_sweep
from tests.sweep_files import TINY, write, write_pictures

CURVE: list[dict[str, Any]] = [
    {"step": 0, "bits": 7.25, "train_bits": None, "training_seconds": 0.5},
    {"step": 10, "bits": 1 / 3, "train_bits": 2.0, "training_seconds": 1.5},
    {"step": 20, "bits": float("inf"), "train_bits": 1.0, "training_seconds": 2.5},
]
TAGS = ["reconstruction_bits_per_dim", "train_reconstruction_bits_per_dim", "mse", "total_bits_per_dim_uniform",
        "mean_perplexity"]  # fmt: skip


def crc32c(content: bytes) -> int:
    """Bit by bit, from the definition in RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checked(content: bytes, check: bytes) -> bytes:
    """Content whose masked checksum is right, by the definition in TensorFlow's record_writer.h."""
    crc = crc32c(content)
    assert struct.unpack("<I", check) == (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF,)
    return content


def records(content: bytes) -> Iterator[bytes]:
    while content:
        (length,) = struct.unpack("<Q", checked(content[:8], content[8:12]))
        end = 12 + length
        yield checked(content[12:end], content[end : end + 4])
        content = content[end + 4 :]


def events(content: bytes) -> list[Any]:
    return [Event.FromString(record) for record in records(content)]


def scalars(content: bytes) -> dict[str, dict[int, float]]:
    """Values by tag and step."""
    found = dict[str, dict[int, float]]()
    for event in events(content):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                assert event.step not in found.setdefault(value.tag, {})
                found[value.tag][event.step] = value.simple_value
    return found


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_file_holds_every_value_of_the_curve_at_its_step_and_time() -> None:
    content = event_file(CURVE, {}, "training_seconds")
    assert scalars(content) == {
        "bits": {0: 7.25, 10: np.float32(1 / 3), 20: float("inf")},
        "train_bits": {10: 2.0, 20: 1.0},
    }
    first, *_, last = events(content)
    assert first.file_version == "brain.Event:2"
    assert (last.step, last.wall_time) == (20, 2.5)


def test_a_file_says_what_is_trained_as_text_and_as_hyperparameters() -> None:
    content = event_file(CURVE, {"quantizer": "dvq", "slices": 4}, "training_seconds")
    values = {value.tag: value for event in events(content) for value in event.summary.value}
    text = values["settings/text_summary"].tensor.string_val[0].decode()
    assert text.splitlines()[2:] == ["| quantizer | dvq |", "| slices | 4 |"]
    names = {tag: value.metadata.plugin_data.plugin_name for tag, value in values.items()}
    assert names["_hparams_/session_start_info"] == names["_hparams_/experiment"] == "hparams"


def test_a_longer_curve_leaves_records_where_they_were() -> None:
    lengths = [
        [len(record) for record in records(event_file(CURVE[:rows], {"slices": 4}, "training_seconds"))]
        for rows in (1, 2, 3)
    ]
    assert lengths[1][: len(lengths[0])] == lengths[0]
    assert lengths[2][: len(lengths[1])] == lengths[1]


LEARNED = """\
name: tiny
trainable: learned_prior
seeds: 2
fixed: {image_size: 8, dimension: 4, codebook_size: 4, stem_channels: 4, body_channels: 4, residual_channels: 4,
        logistic_mixtures: 1, downsamplings: 1, batch_size: 2, steps: 20, dataset: mine}
data: {mine: {format: folder, train: FOLDER/train, test: FOLDER/test}}
grids: {slices: {quantizer: dvq, slices: 2}}
"""


@pytest.fixture
def learned(tmp_path: Path) -> str:
    """A sweep file of two trainings on a few small images."""
    write_pictures(tmp_path)
    return LEARNED.replace("FOLDER", str(tmp_path))


def assert_as_stored(content: bytes, curve: pd.DataFrame) -> None:
    for tag in TAGS:
        values = curve.set_index("step")[tag].dropna().astype(np.float32)
        assert scalars(content)[tag] == values.to_dict()
    assert scalars(content).keys() == {*TAGS}


def test_a_sweep_that_asks_for_it_keeps_the_stored_curve_of_each_training(tmp_path: Path, learned: str) -> None:
    path = write(tmp_path, learned)
    arguments = ["--results", str(tmp_path), "--in-process", "--set", "tensorboard=true"]
    result = CliRunner().invoke(sweep, [str(path), *arguments])
    assert result.exit_code == 0, result.output
    store = Store(tmp_path / "tiny")
    curves = store.load_curves()
    assert len(store.statuses()) == 2
    files = sorted(path for path in Path(store.location, "tensorboard").rglob("*") if path.is_file())
    assert files == [Path(store.location, "tensorboard", cell_id, FILE_NAME) for cell_id in sorted(store.statuses())]
    for cell_id, file in zip(sorted(store.statuses()), files, strict=True):
        assert_as_stored(file.read_bytes(), curves[curves["cell_id"] == cell_id])


def test_a_sweep_that_does_not_ask_for_it_keeps_none(tmp_path: Path, learned: str) -> None:
    arguments = ["--results", str(tmp_path), "--in-process", "--set", "steps=2"]
    assert CliRunner().invoke(sweep, [str(write(tmp_path, learned)), *arguments]).exit_code == 0
    assert not (tmp_path / "tiny" / "tensorboard").exists()


def run(spec: SweepSpec, store: Store, cell: Cell, run_id: str = "first") -> Generator[Any]:
    run = Run(run_id=run_id, sweep="tiny", commit="commit")
    return run_pack(Pack(cells=[cell]), store, run, spec.surroundings())


def test_a_training_that_goes_on_from_a_checkpoint_has_its_whole_curve(tmp_path: Path, learned: str) -> None:
    spec = parse_sweep(learned + "tensorboard: true\n", "tiny.yaml")
    store, cell = Store(tmp_path / "store"), expand(spec)[0][0]
    file = tmp_path / "store" / "tensorboard" / cell.cell_id / FILE_NAME
    begun = run(spec, store, cell)
    logged = [next(begun).logged[-1]["step"] for _ in range(7)][-1]
    assert list(scalars(file.read_bytes())["mse"]) == [0]  # the rest within a minute waits
    begun.close()
    assert list(scalars(file.read_bytes())["mse"])[-1] == logged > 0
    inode = file.stat().st_ino
    list(run(spec, store, cell, "second"))
    assert store.load_curves()["step"].max() == 20
    assert_as_stored(file.read_bytes(), store.load_curves())
    assert file.stat().st_ino == inode  # TensorBoard would not see another file of the same name


def test_a_shorter_file_takes_the_place_of_a_longer_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_tensorboard("a", FILE_NAME, b"longer")
    store.write_tensorboard("a", FILE_NAME, b"new")
    assert (tmp_path / "tensorboard" / "a" / FILE_NAME).read_bytes() == b"new"


SPEC = parse_sweep(TINY, "tiny.yaml")
CELL = expand(SPEC)[0][0]


def training(ends: Sequence[Any]) -> Generator[tuple[Cell, Any]]:
    for rows in range(1, 4):
        yield CELL, Underway(share=rows / 4, logged=[{**CURVE[0], "step": step} for step in range(rows)])
        yield CELL, Underway(share=rows / 4, logged=[{**CURVE[0], "step": step} for step in range(rows)])
    for end in ends:
        if isinstance(end, Exception):
            raise end
        yield CELL, end


@pytest.mark.parametrize(
    ("every_seconds", "steps"), [(0.0, [0, 1, 2]), (2.0, [0, 1, 2]), (3.0, [0, 1, 2]), (9.0, [0, 2])]
)
def test_a_file_is_written_where_the_curve_grew_at_most_once_in_so_many_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_seconds: float, steps: list[int]
) -> None:
    store, written = Store(tmp_path), list[int]()
    monkeypatch.setattr(store, "write_tensorboard", lambda *file: written.append(max(scalars(file[-1])["bits"])))
    seconds = iter(range(1000))
    monkeypatch.setattr("dvq_ray.execution.tensorboard.time.monotonic", lambda: float(next(seconds)))
    list(followed(training([Outcome()]), [CELL], store, every_seconds))
    assert written == steps


@pytest.mark.parametrize("ends", [[Outcome()], [ValueError("boom")], []])
def test_what_was_logged_last_is_kept_however_a_training_ends(tmp_path: Path, ends: list[Any]) -> None:
    events = followed(training(ends), [CELL], Store(tmp_path), 60.0)
    try:
        list(events)
    except ValueError:
        assert ends
    content = (tmp_path / "tensorboard" / CELL.cell_id / FILE_NAME).read_bytes()
    assert list(scalars(content)["bits"]) == [0, 1, 2]


def test_a_training_goes_on_where_its_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise StoreError("the disk is full")

    store = Store(tmp_path)
    monkeypatch.setattr(store, "write_tensorboard", refuse)
    with pytest.warns(UserWarning, match="no event file for TensorBoard: the disk is full"):
        told = list(followed(training([Outcome()]), [CELL], store, 60.0))
    assert told[-1] == (CELL, Outcome())


def test_event_files_are_no_part_of_a_cell(tmp_path: Path, learned: str) -> None:
    path = write(tmp_path, learned)
    plain, watched = load_sweep(path), load_sweep(path, ["tensorboard=true"])
    assert (plain.surroundings().tensorboard, watched.surroundings().tensorboard) == (False, True)
    ids = [[cell.cell_id for cell in expand(spec)[0]] for spec in (plain, watched)]
    assert ids[0] == ids[1]
    assert dataclasses.replace(watched.surroundings(), tensorboard=False) == plain.surroundings()
