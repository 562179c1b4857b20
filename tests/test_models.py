"""Models that cells keep: they encode and decode as the cells did, and what is wrong with their files is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from dvq_ray import Model, ModelError, load_model, run_sweep
from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiments.learned_prior.images import load_images
from dvq_ray.experiments.learned_prior.sources import FolderSource
from dvq_ray.experiments.vectors.data import load
from dvq_ray.experiments.vectors.preparation import directions
from dvq_ray.models.codec_model import CodecModel
from dvq_ray.quantizer.base import blocks
from dvq_ray.quantizer.kept_codes import read_codes
from dvq_ray.store import Store
from dvq_ray.sweep.yaml_writer import write_yaml
from tests.sweep_files import SEARCH, write, write_pictures
from tests.vectors.test_vector_sources import source
from tests.vectors.vector_files import clusters, described

TRAINING = {"codebook_size": 8, "start": "k-means++", "steps": 40}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "vq": {"quantizer": "vq", **TRAINING},
    "dvq": {"quantizer": "dvq", "slices": 2, **TRAINING},
    "kmeans": {"quantizer": "kmeans", "slices": 2, "codebook_size": 8},
}
BLOBS: dict[str, dict[str, Any]] = {
    "static_prior": {"factors": 8, "dimension": 4, "train_samples": 256},
    "factorial_prior": {"groups": 2, "centres": 3, "dimension": 4, "train_samples": 256},
}
IMAGES = {
    "image_size": 8, "dimension": 6, "codebook_size": 8, "downsamplings": 1, "stem_channels": 4, "body_channels": 4,
    "residual_channels": 4, "residual_blocks": 1, "logistic_mixtures": 2, "batch_size": 2, "steps": 6,
}  # fmt: skip


def blob_sweep(trainable: str = "static_prior", **more: Any) -> dict[str, Any]:
    grids = {"grids": QUANTIZERS} if trainable == "static_prior" else {"grids": {"dvq": QUANTIZERS["dvq"]}}
    return {"name": "kept", "trainable": trainable, "fixed": BLOBS[trainable], **grids, "keep": ["model"], **more}


def vector_sweep(folder: Path, **fixed: Any) -> dict[str, Any]:
    data = described(folder / "vectors", "npy", clusters(500), clusters(100, seed=1))
    return {
        "name": "kept", "trainable": "vectors", "data": {"mine": dict(data)}, "fixed": {"dataset": "mine", **fixed},
        "grids": QUANTIZERS, "keep": ["model", "codes"],
    }  # fmt: skip


def run(sweep: dict[str, Any], results: Path) -> pd.DataFrame:
    frame = run_sweep(sweep, results=results, in_process=True)
    assert (frame["status"] == "ok").all(), frame["error"].tolist()
    return frame


def kept_codes(results: Path, cell_id: str) -> dict[str, Any]:
    content = Store(results / "kept").read_artifact(cell_id, "codes.parquet")
    assert content is not None
    return read_codes(content)


def mse(model: Model, rows: Any) -> float:
    """As cells add it up: in blocks of the same rows."""
    squares = 0.0
    for part in blocks(*rows.shape):
        squares += float(np.square(rows[part] - model.decode(model.encode(rows[part])), dtype=np.float64).sum())
    return squares / int(rows.size)


@pytest.mark.parametrize("trainable", BLOBS)
def test_models_of_blobs_give_the_stored_errors_and_codes(trainable: str, tmp_path: Path) -> None:
    for _, row in run(blob_sweep(trainable, keep=["model", "codes"], seeds=2), tmp_path).iterrows():
        model = load_model(tmp_path / "kept", row["cell_id"])
        assert isinstance(model, CodecModel)
        settings: Any = find_experiment(trainable).settings(model.settings)
        drawn = settings.draw(row["seed"])
        assert model.kept.data_digest == drawn.sha256()
        for split, vectors in (("train", drawn.train), ("test", drawn.test)):
            np.testing.assert_array_equal(model.encode(vectors), kept_codes(tmp_path, row["cell_id"])[split])
            error, _ = model.codec.evaluate(vectors, settings.codebook_sizes())
            assert error == row[f"{split}_mse"]
            assert mse(model, vectors) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(
    "fixed",
    [{}, {"scale": "features"}, {"scale": "none", "centre": False}, {"normalise": True, "rows": 300}],
    ids=lambda fixed: " ".join(fixed) or "defaults",
)
def test_models_of_vectors_give_the_stored_errors_and_codes(fixed: dict[str, Any], tmp_path: Path) -> None:
    description = vector_sweep(tmp_path, **fixed)
    data = load(source(description["data"]["mine"]), fixed.get("rows", 0))
    for _, row in run(description, tmp_path).iterrows():
        model = load_model(tmp_path / "kept", row["cell_id"])
        assert model.kept.data_digest == row["data_sha256"]
        for split, rows in (("train", data.train), ("test", next(iter(data.test.blocks())))):
            np.testing.assert_array_equal(model.encode(rows), kept_codes(tmp_path, row["cell_id"])[split])
            targets = directions(rows) if fixed.get("normalise") else rows
            squares = np.square(targets - model.decode(model.encode(rows)), dtype=np.float64).sum()
            assert float(squares) / rows.size == row[f"{split}_mse"]


@pytest.mark.parametrize(
    "grid", [{"quantizer": "dvq", "slices": 3}, {"quantizer": "vq", "joint_codebooks": 2}, {"quantizer": "svq"}]
)
def test_models_of_images_give_the_stored_errors_and_codes(grid: dict[str, Any], tmp_path: Path) -> None:
    write_pictures(tmp_path)
    folders = {"format": "folder", "train": str(tmp_path / "train"), "test": str(tmp_path / "test")}
    grid = {**grid, **({"slices": 2} if grid["quantizer"] == "svq" else {})}
    frame = run(
        {
            "name": "kept", "trainable": "learned_prior", "data": {"mine": folders},
            "fixed": {"dataset": "mine", **IMAGES}, "grids": {"a": grid}, "keep": ["model", "codes"],
        },
        tmp_path,
    )  # fmt: skip
    (row,) = (row for _, row in frame.iterrows())
    images = load_images(FolderSource.model_validate(folders), 8)
    model = load_model(tmp_path / "kept", row["cell_id"])
    assert model.kept.data_digest == row["data_sha256"]
    for split, name, pixels in (("train", "train_mse", images.train), ("test", "mse", images.test)):
        codes = model.encode(pixels)
        np.testing.assert_array_equal(codes, kept_codes(tmp_path, row["cell_id"])[split])
        expected = model.decode(codes)
        assert expected.shape == pixels.shape
        errors = np.square(expected - pixels / np.float32(255)).astype(np.float64).mean((1, 2, 3))
        assert errors.mean() == row[name]
    with pytest.raises(ModelError, match="faiss has no index"):
        model.to_faiss()
    with pytest.raises(ModelError, match=r"found float64 of shape \[2, 3\]; allowed: uint8 \[images, 3, 8, 8\]"):
        model.encode(np.zeros((2, 3)))


@pytest.mark.parametrize("fixed", [{}, {"scale": "none", "centre": False}, {"normalise": True}])
def test_faiss_decodes_the_same_codes_to_the_same_vectors(fixed: dict[str, Any], tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    rows = clusters(100, seed=1)
    for _, row in run(vector_sweep(tmp_path, **fixed), tmp_path).iterrows():
        model = load_model(tmp_path / "kept", row["cell_id"])
        index, codes = model.to_faiss(), model.encode(rows)
        packed = faiss.pack_bitstrings(codes.astype(np.int32), 3)
        np.testing.assert_array_equal(index.sa_decode(packed), model.decode(codes))
        given = directions(rows) if fixed.get("normalise") else rows
        assert (index.sa_encode(given) == packed).all(1).mean() > 0.98  # all, but for rounding
        index.add(given)
        assert index.ntotal == 100


@pytest.mark.long
@pytest.mark.parametrize("fixed", [{}, {"scale": "none", "centre": False}, {"centre": False}])
@pytest.mark.parametrize(
    "grid",
    [
        {"quantizer": "pq", "slices": 2, "codebook_size": 8},
        {"quantizer": "opq", "slices": 2, "codebook_size": 8},
        {"quantizer": "rvq", "stages": 2, "codebook_size": 8},
        {"quantizer": "lsq", "additive_codebooks": 2, "codebook_size": 8},
        {"quantizer": "faiss", "features": 8, "factory_string": "OPQ2,PQ2x3"},
        {"quantizer": "faiss", "features": 8, "factory_string": "PCA4,RQ2x3"},
    ],
    ids=lambda grid: grid.get("factory_string", grid.get("quantizer")),
)
def test_indexes_of_faiss_encode_and_decode_in_the_units_of_the_data(
    fixed: dict[str, Any], grid: dict[str, Any], tmp_path: Path
) -> None:
    faiss = pytest.importorskip("faiss")
    frame = run({**vector_sweep(tmp_path, **fixed), "grids": {"a": grid}, "seeds": 1}, tmp_path)
    rows = clusters(200, seed=1)
    model = load_model(tmp_path / "kept", frame["cell_id"].iloc[0])
    index, codes = model.to_faiss(), model.encode(rows)
    packed = faiss.pack_bitstrings(codes.astype(np.int32), 3)
    np.testing.assert_allclose(index.sa_decode(packed), model.decode(codes), rtol=1e-4, atol=1e-4)
    assert (index.sa_encode(rows) == packed).all(1).mean() > (0.9 if grid["quantizer"] == "lsq" else 0.98)
    index.add(rows)
    assert index.ntotal == 200


def test_an_index_that_cannot_be_scaled_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    grid = {"quantizer": "faiss", "features": 8, "factory_string": "SQ4"}
    frame = run({**vector_sweep(tmp_path), "grids": {"a": grid}, "seeds": 1}, tmp_path)
    with pytest.raises(ModelError, match="faiss: IndexScalarQuantizer of faiss cannot be given another scale; allowed"):
        load_model(tmp_path / "kept", frame["cell_id"].iloc[0]).to_faiss()


def test_faiss_refuses_what_it_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    by_features = run({**vector_sweep(tmp_path, scale="features"), "grids": {"a": QUANTIZERS["dvq"]}}, tmp_path / "a")
    with pytest.raises(ModelError, match="allowed for faiss: whole, none"):
        load_model(tmp_path / "a" / "kept", by_features["cell_id"].iloc[0]).to_faiss()
    odd = run(blob_sweep(grids={"a": {"quantizer": "kmeans", "codebook_size": 6}}), tmp_path / "b")
    model = load_model(tmp_path / "b" / "kept", odd["cell_id"].iloc[0])
    with pytest.raises(ModelError, match="found codebooks of 6 codes; allowed in faiss: a power of two"):
        model.to_faiss()
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ModelError, match="pip install faiss-cpu"):
        model.to_faiss()


def test_the_files_are_json_and_safetensors(tmp_path: Path) -> None:
    (cell_id, *_) = run(vector_sweep(tmp_path), tmp_path)["cell_id"]
    folder = tmp_path / "kept" / "artifacts" / cell_id
    assert sorted(path.name for path in folder.iterdir()) == ["codes.parquet", "model.json", "model.safetensors"]
    found = json.loads((folder / "model.json").read_text())
    assert (found["format"], found["cell_id"], found["experiment"], found["seed"]) == (1, cell_id, "vectors", 0)
    assert found["arrays_digest"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert found["parts"]["codec"] == {"codec": "codebooks"}
    assert len(found["parts"]["preparation"]["mean"]) == 8
    assert "numpy" in found["versions"]


@pytest.fixture
def cell(tmp_path: Path) -> tuple[Path, str]:
    """A store with a model, and its cell."""
    frame = run(blob_sweep(grids={"a": QUANTIZERS["kmeans"]}), tmp_path)
    return tmp_path / "kept", frame["cell_id"].iloc[0]


def damaged_json(text: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(text), **fields}).encode()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.json", lambda content: content[:50], "model.json: is damaged"),
        ("model.json", lambda content: b"[]", "format is missing"),
        ("model.json", lambda content: damaged_json(content, format=2), "found format = 2; allowed: 1"),
        ("model.json", lambda content: b'{"format": 1}', "cell_id, experiment, .* missing"),
        (
            "model.json",
            lambda content: damaged_json(content, experiment="nothing"),
            "found experiment = 'nothing'; allowed",
        ),
        ("model.json", lambda content: damaged_json(content, parts={}), "codec missing"),
        (
            "model.json",
            lambda content: damaged_json(content, parts={"codec": {"codec": "x"}}),
            "found codec = 'x'; allowed: codebooks",
        ),
        ("model.safetensors", lambda content: content[:-1], "model.safetensors: is damaged: its digest"),
        ("model.safetensors", lambda content: b"", "its digest is not that in model.json"),
    ],
)
def test_damaged_files_are_said_to_be(name: str, damage: Any, message: str, cell: tuple[Path, str]) -> None:
    store, cell_id = cell
    path = store / "artifacts" / cell_id / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=message) as error:
        load_model(store, cell_id)
    assert str(store / "artifacts" / cell_id) in str(error.value)


def test_cells_without_a_model_are_said_to_have_none(cell: tuple[Path, str], tmp_path: Path) -> None:
    store, cell_id = cell
    with pytest.raises(ModelError, match=f"no cell '{cell_id[:6]}'; .* did you mean {cell_id}"):
        load_model(store, cell_id[:6])
    with pytest.raises(ModelError, match="not a store with cells"):
        load_model(tmp_path / "nowhere", cell_id)
    (store / "artifacts" / cell_id / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model.safetensors missing\). Write keep: \[model\] into the sweep file"):
        load_model(store, cell_id)
    failing = run_sweep(
        blob_sweep(fixed={**BLOBS["static_prior"], "learning_rate": 1e30}, grids={"a": QUANTIZERS["vq"]}, name="bad"),
        results=tmp_path, in_process=True,
    )  # fmt: skip
    assert failing["status"].tolist() == ["diverged"]
    with pytest.raises(ModelError, match="its status is diverged; run the sweep with --retry-failed"):
        load_model(tmp_path / "bad", failing["cell_id"].iloc[0])


def test_a_search_says_that_files_are_missing(tmp_path: Path) -> None:
    search = SEARCH + "keep: [model]\n"
    command = [str(write(tmp_path, search)), "--results", str(tmp_path), "--in-process"]
    assert CliRunner().invoke(sweep, command).exit_code == 0
    assert "have not kept" not in CliRunner().invoke(sweep, [*command, "--dry-run"]).output
    folder = next((tmp_path / "tiny" / "artifacts").iterdir())
    load_model(tmp_path / "tiny", folder.name)
    (folder / "model.json").unlink()
    told = "1 cells are done, but have not kept all of: model"
    assert told in CliRunner().invoke(sweep, [*command, "--dry-run"]).output
    assert told in " ".join(CliRunner().invoke(status, [str(tmp_path / "tiny")]).output.split())


def test_cells_whose_files_are_missing_are_announced_and_computed_again(tmp_path: Path) -> None:
    before = run(blob_sweep(keep=[]), tmp_path)
    file = write(tmp_path, write_yaml(blob_sweep()))
    command = [str(file), "--results", str(tmp_path), "--in-process"]
    preview = CliRunner().invoke(sweep, [*command, "--dry-run"])
    assert "run again: 3 cells that are done, but have not kept all of: model" in preview.output
    assert "to run: 3 cells" in preview.output
    assert CliRunner().invoke(sweep, command).exit_code == 0
    for cell_id in before["cell_id"]:
        load_model(tmp_path / "kept", cell_id)
    assert CliRunner().invoke(status, [str(tmp_path / "kept")]).exit_code == 0
    (tmp_path / "kept" / "artifacts" / before["cell_id"].iloc[0] / "model.json").unlink()
    found = CliRunner().invoke(status, [str(tmp_path / "kept")])
    assert found.exit_code == 3
    assert "1 of the missing cells have a row, but have not kept all of: model" in found.output
    assert "to run: 1 cells" in CliRunner().invoke(sweep, [*command, "--dry-run"]).output
