from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.learned_prior import run as run_module
from dvq_ray.experiments.learned_prior.device import DataSet, Device
from dvq_ray.experiments.learned_prior.images import Images
from dvq_ray.experiments.learned_prior.run import run
from dvq_ray.experiments.learned_prior.settings import LearnedPriorSettings
from dvq_ray.experiments.learned_prior.sources import PhotosSource
from dvq_ray.experiments.learned_prior.training import CheckpointError, Training, batch_rows, logged_steps
from dvq_ray.quantizer.base import Quantizer
from dvq_ray.quantizer.kept_codes import read_codes
from dvq_ray.streams import stream
from dvq_ray.sweep.cells import Point

CPU = Device("cpu")
SMALL = {
    "image_size": 8, "dimension": 6, "codebook_size": 8, "downsamplings": 1, "stem_channels": 4, "body_channels": 4,
    "residual_channels": 4, "residual_blocks": 1, "logistic_mixtures": 2, "batch_size": 4, "steps": 24,
    "learning_rate": 0.01,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "vq": {"quantizer": "vq"},
    "vq joint": {"quantizer": "vq", "joint_codebooks": 3},
    "dvq": {"quantizer": "dvq", "slices": 3},
    "svq regions": {"quantizer": "svq", "slices": 4},
    "svq joint": {"quantizer": "svq", "slices": 4, "joint_positions": 4},
    "categorical": {"quantizer": "dvq", "slices": 2, "logistic_mixtures": 0},
    "moving averages": {"quantizer": "dvq", "slices": 2, "ema_decay": 0.9},
    "clusters and restarts": {"quantizer": "dvq", "slices": 2, "codebook_start": "k-means", "restart_below": 0.5},
    "vq measured": {"quantizer": "vq", "measured_slices": 3},
    "svq measured": {"quantizer": "svq", "slices": 4, "measured_slices": 2},
    "all of them": {"quantizer": "vq", "ema_decay": 0.9, "codebook_start": "k-means", "restart_below": 0.5},
}
METRICS_OF_TIME = ["duration_seconds", "images_per_second", "peak_memory_bytes"]


def settings(**fields: Any) -> LearnedPriorSettings:
    given = {**SMALL, **fields}
    made = find_experiment("learned_prior").settings(given)
    assert isinstance(made, LearnedPriorSettings)
    return made


def images(train: int = 10, test: int = 6) -> Images:
    draw = stream(0, "images of a test")
    train_pixels, test_pixels = (draw.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8) for n in (train, test))
    return Images(train=train_pixels, test=test_pixels, sha256="digest")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataSet]:
    drawn = DataSet(images(), CPU)
    monkeypatch.setattr(run_module, "data_set", lambda source, size, device: drawn)
    with CPU.prepared():
        yield drawn


class Kept:
    """What a cell keeps, in memory."""

    def __init__(self) -> None:
        self.checkpoint: bytes | None = None
        self.rejected: list[str] = []
        self.artifacts: dict[str, bytes] = {}
        self.written = 0

    def read_checkpoint(self) -> bytes | None:
        return self.checkpoint

    def write_checkpoint(self, content: bytes) -> None:
        self.checkpoint = content
        self.written += 1

    def reject_checkpoint(self, reason: str) -> None:
        self.checkpoint = None
        self.rejected.append(reason)

    def write_model(self, parts: Mapping[str, Any], arrays: Mapping[str, Any], data_digest: str) -> None:
        pass

    def write_artifact(self, name: str, content: bytes) -> None:
        self.artifacts[name] = content


def around(kept: Kept, checkpoint_seconds: float = 60.0) -> Surroundings:
    return Surroundings(data={"photos": PhotosSource()}, files={0: kept}, checkpoint_seconds=checkpoint_seconds)


def outcome(cell: LearnedPriorSettings, kept: Kept | None = None, **more: float) -> Outcome:
    last = list(run(cell, [0], around(kept or Kept(), **more)))[-1]
    assert isinstance(last, Outcome)
    return last


@cache
def undisturbed(model: str) -> tuple[Outcome, Kept]:
    """What a training of `MODELS` comes to with the images of `data`, and what it keeps. No test changes either."""
    kept = Kept()
    return outcome(settings(**MODELS[model]), kept), kept


def results(done: Outcome) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    metrics = {name: value for name, value in done.metrics.items() if name not in METRICS_OF_TIME}
    return metrics, [{k: v for k, v in point.items() if k != "training_seconds"} for point in done.curve]


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_a_training_that_is_cut_off_twice_ends_with_the_bytes_of_one_that_is_not(data: DataSet, model: str) -> None:
    cell, kept = settings(**MODELS[model]), Kept()
    for stop_after in (7, 9):
        running = run(cell, [0], around(kept))
        for _ in range(stop_after):
            assert isinstance(next(running), Underway)
        running.close()
    assert kept.written == 2
    first, *_, last = run(cell, [0], around(kept))
    assert isinstance(first, Underway)
    assert first.share == pytest.approx(0.97 * 14 / 24)
    assert isinstance(last, Outcome)
    assert results(last) == results(undisturbed(model)[0])


def test_a_checkpoint_is_kept_every_so_many_seconds(data: DataSet) -> None:
    kept = Kept()
    outcome(settings(**MODELS["dvq"]), kept, checkpoint_seconds=1e-9)
    assert kept.written == 24
    assert undisturbed("dvq")[1].written == 0


def training(seed: int = 0, data: Images | None = None, **fields: Any) -> Training:
    return Training(
        settings(**(fields if "quantizer" in fields else {**MODELS["dvq"], **fields})),
        seed,
        DataSet(data or images(), CPU),
        CPU,
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 1}, "of another cell"),
        ({"learning_rate": 0.1}, "of another cell"),
        ({"data": replace(images(), sha256="other")}, "other images"),
    ],
)
def test_a_checkpoint_of_another_cell_or_of_other_images_is_rejected(other: dict[str, Any], reason: str) -> None:
    one = training()
    one.begin()
    one.advance()
    with pytest.raises(CheckpointError, match=reason):
        training(**other).restore(one.checkpoint())


def test_a_broken_checkpoint_is_rejected_and_the_cell_begins_anew(data: DataSet) -> None:
    cell, good = settings(**MODELS["dvq"], steps=6), Kept()
    expected = results(outcome(cell, good, checkpoint_seconds=1e-9))
    assert good.checkpoint is not None
    flipped = bytearray(good.checkpoint)
    flipped[len(flipped) // 2] ^= 1
    for broken in (b"", b"nonsense", good.checkpoint[: len(good.checkpoint) // 2], bytes(flipped)):
        kept = Kept()
        kept.checkpoint = broken
        assert results(outcome(cell, kept)) == expected
        assert len(kept.rejected) == 1


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("hostile code ran",)


def test_a_checkpoint_that_would_run_code_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    content = io.BytesIO()
    torch.save({"of": Hostile()}, content)
    digest = hashlib.sha256(content.getvalue()).digest()
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        training().restore(digest + content.getvalue())
    assert "hostile" not in capsys.readouterr().out


def test_a_loss_that_is_not_finite_ends_the_training_with_its_step(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Training.advance

    def poisoned(self: Training) -> bool:
        if self.step == 5:
            with torch.no_grad():
                next(self.model.decoder.parameters()).fill_(math.nan)
        return advance(self)

    monkeypatch.setattr(Training, "advance", poisoned)
    done = outcome(settings(**MODELS["vq"]))
    assert done.diverged_at_step == 5
    assert done.metrics == {}
    assert [point["step"] for point in done.curve] == [step for step in logged_steps(24) if step <= 5]


def test_batches_go_through_all_images_before_any_comes_again() -> None:
    rows = np.concatenate([batch_rows(3, step, 4, 10) for step in range(10)])
    assert all(sorted(rows[start : start + 10]) == list(range(10)) for start in range(0, 40, 10))
    assert not np.array_equal(rows[:10], rows[10:20])
    assert not np.array_equal(rows, np.concatenate([batch_rows(4, step, 4, 10) for step in range(10)]))


def test_a_batch_may_be_larger_than_the_set_of_images() -> None:
    assert sorted(batch_rows(0, 1, 7, 3)) == [0, 0, 1, 1, 1, 2, 2] or len(batch_rows(0, 1, 7, 3)) == 7


@pytest.mark.parametrize("steps", [1, 2, 24, 1500, 100_000])
def test_logged_steps_reach_from_untrained_to_the_last_step(steps: int) -> None:
    logged = logged_steps(steps)
    assert (logged[0], logged[-1]) == (0, steps)
    assert len(set(logged)) == len(logged) <= 27


@pytest.mark.parametrize("model", MODELS)
def test_metrics_add_up(data: DataSet, model: str) -> None:
    cell = settings(**MODELS[model])
    assert isinstance(cell, Quantizer)
    done, kept = undisturbed(model)
    m = done.metrics
    assert m["total_bits_per_dim_uniform"] == m["reconstruction_bits_per_dim"] + m["code_bits_per_dim_uniform"]
    assert m["total_bits_per_dim_unigram"] == m["reconstruction_bits_per_dim"] + m["code_bits_per_dim_unigram"]
    assert m["code_bits_per_dim_uniform"] == pytest.approx(cell.bits(cell.positions) / 192)
    # A prior that was fitted to the codes can only be better than a uniform one, but for its smoothing.
    assert m["train_code_bits_per_dim_unigram"] <= m["code_bits_per_dim_uniform"] + 1e-9
    assert len(m["perplexity"]) == len(m["codes_used"]) == len(cell.codebook_sizes())
    assert all(1 - 1e-9 <= p <= used + 1e-9 for p, used in zip(m["perplexity"], m["codes_used"], strict=True))
    assert 0 < m["mse"] < 1
    assert m["psnr_db"] == pytest.approx(-10 * math.log10(m["mse"]), abs=1)
    assert (m["train_images"], m["test_images"], m["precision"]) == (10, 6, "float32")
    assert kept.artifacts["reconstructions.png"].startswith(b"\x89PNG")
    dependent = cell.quantizer != "svq" and len(cell.codebook_sizes()) > 1
    assert (m["slice_dependence_bits"] is not None) == dependent
    for kind in ("refit", "shuffled", "random_mean", "random_deviation"):
        measured = cell.quantizer == "dvq" or "measured_slices" in MODELS[model]
        assert (m[f"slice_dependence_bits_{kind}"] is not None) == measured
    for column in ("joint_code_entropy_bits", "code_cross_entropy_bits"):
        assert (m[column] is None) == (cell.quantizer == "svq")
    if len(cell.codebook_sizes()) == 1:
        bits = m["code_bits_per_dim_unigram"] * 192 / cell.positions
        assert m["code_cross_entropy_bits"] == pytest.approx(bits)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_codes_that_are_kept_are_those_that_were_measured(data: DataSet, model: str) -> None:
    cell, kept = settings(**MODELS[model]), Kept()
    assert isinstance(cell, Quantizer)
    around_it = replace(around(kept), keep=frozenset({"codes"}))
    (found,) = [event for event in run(cell, [0], around_it) if isinstance(event, Outcome)]
    assert "codes.parquet" not in undisturbed(model)[1].artifacts
    codes = read_codes(kept.artifacts["codes.parquet"])
    sizes = cell.codebook_sizes()
    assert {split: each.shape[:2] for split, each in codes.items()} == {
        "train": (10, len(sizes)),
        "test": (6, len(sizes)),
    }
    used = [len(np.unique(codes["train"][:, place])) for place in range(len(sizes))]
    assert used == found.metrics["codes_used"]


@pytest.mark.parametrize("model", ["dvq", "vq joint", "svq joint"])
def test_a_cell_keeps_the_bits_of_every_test_image_in_their_order(
    data: DataSet, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, kept = undisturbed(model)
    m = done.metrics
    table = pq.read_table(io.BytesIO(kept.artifacts["test_images.parquet"]))
    total = "total_bits_per_dim_unigram"
    assert table.schema.names == ["reconstruction_bits_per_dim", "code_bits_per_dim_unigram", total]
    assert {str(kind) for kind in table.schema.types} == {"float"}
    assert table.num_rows == 6
    for column in table.schema.names:
        assert np.mean(table[column]) == pytest.approx(m[column], rel=1e-6)
    # The same images in the other order have the same bits in the other order.
    turned = images()
    turned = replace(turned, test=turned.test[::-1].copy())
    monkeypatch.setattr(run_module, "data_set", lambda source, size, device: DataSet(turned, CPU))
    kept = Kept()
    outcome(settings(**MODELS[model]), kept)
    again = pq.read_table(io.BytesIO(kept.artifacts["test_images.parquet"]))
    for column in table.schema.names:
        assert len({*table[column].to_pylist()}) > 1
        np.testing.assert_allclose(again[column], np.asarray(table[column])[::-1], rtol=1e-5)


def test_measured_slices_are_a_field_of_quantizers_without_slices_of_the_features() -> None:
    learned = find_experiment("learned_prior")
    has_field = {name for name in learned.quantizers if "measured_slices" in learned.variant(name).model_fields}
    assert has_field == {*learned.quantizers} - {"dvq"}


@pytest.mark.parametrize("model", ["vq", "svq regions"])
def test_measuring_no_slices_leaves_the_id_and_measuring_some_changes_it(model: str) -> None:
    learned = find_experiment("learned_prior")
    ids = [
        Point(experiment=learned, settings=settings(**MODELS[model], **fields)).cell_id(0)
        for fields in ({}, {"measured_slices": 0}, {"measured_slices": 2}, {"measured_slices": 3})
    ]
    assert ids[0] == ids[1]
    assert len({*ids}) == 3


def test_measured_slices_change_no_number_of_the_training(data: DataSet) -> None:
    plain, measured = (results(undisturbed(model)[0]) for model in ("vq", "vq measured"))
    assert measured[1] == plain[1]
    assert {name for name, value in measured[0].items() if value != plain[0][name]} == {
        f"slice_dependence_bits_{kind}" for kind in ("refit", "shuffled", "random_mean", "random_deviation")
    }


@pytest.mark.parametrize(("slices", "reason"), [(1, "leaves nothing to compare"), (4, "does not divide dimension = 6")])
def test_measured_slices_are_several_equal_parts_of_the_features(slices: int, reason: str) -> None:
    with pytest.raises(ValidationError, match=f"measured_slices {reason}"):
        settings(**MODELS["vq"], measured_slices=slices)


def test_training_lowers_the_loss(data: DataSet) -> None:
    curve = outcome(settings(**MODELS["vq"], steps=200)).curve
    bits = [point["train_reconstruction_bits_per_dim"] for point in curve]
    assert bits[0] is None
    assert bits[-1] < bits[1] - 0.3


def test_equal_seeds_give_quantizers_the_same_encoder_and_the_same_batches() -> None:
    vq, dvq = (training(**MODELS[name]) for name in ("vq", "dvq"))
    for one, other in zip(vq.model.encoder.parameters(), dvq.model.encoder.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.long
@pytest.mark.parametrize("model", ["dvq", "categorical"])
def test_the_loss_is_one_graph_without_a_break_for_a_gpu_to_compile(data: DataSet, model: str) -> None:
    one = training(**MODELS[model])
    images = torch.from_numpy(data.images.train[:4]).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(one._losses_of, backend="aot_eager", fullgraph=True)
    nats, loss, *_ = compiled(images)
    expected_nats, expected_loss, *_ = one._losses_of(images)
    torch.testing.assert_close([nats, loss], [expected_nats, expected_loss])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("steps", [24, 2000])  # eager, and compiled
def test_a_gpu_agrees_with_the_cpu_within_a_tolerance(data: DataSet, steps: int) -> None:
    cell = settings(**MODELS["dvq"], steps=steps)
    source = {"photos": PhotosSource()}
    bits = []
    for kind in ("cpu", "cuda"):
        device = Device(kind)
        with device.prepared():
            one = Training(cell, 0, DataSet(images(), device), device)
            one.begin()
            while not one.done:
                assert one.advance()
        bits.append(one.curve[-1]["reconstruction_bits_per_dim"])
    assert source
    assert bits[1] == pytest.approx(bits[0], rel=0.03)
