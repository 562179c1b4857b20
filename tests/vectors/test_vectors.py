"""Cells of the experiment `vectors`: what they measure, and what changes a result and what does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sklearn.cluster import KMeans as Lloyd

from dvq_ray.cli.sweep import main
from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.vectors import data
from dvq_ray.experiments.vectors.preparation import Preparation, Scale, directions
from dvq_ray.experiments.vectors.run import run
from dvq_ray.quantizer.usage import perplexity, unseen_codes
from dvq_ray.testing import ExperimentContract
from tests.vectors.test_vector_sources import source
from tests.vectors.vector_files import clusters, described

TRAIN, TEST = clusters(1000), clusters(200, seed=1)
FIT = {"quantizer": "dvq", "slices": 2, "codebook_size": 8, "steps": 50, "start": "k-means++", "learning_rate": 0.05}
KMEANS: dict[str, Any] = {"quantizer": "kmeans", "codebook_size": 8, "start": "k-means++"}
REAL = Path(__file__).parents[3] / "shared" / "data" / "vectors"


def measured(description: Mapping[str, Any], seed: int = 0, **fields: Any) -> dict[str, Any]:
    """The metrics of a cell but for speeds: of FIT with other fields, or of another quantizer."""
    given = fields if "quantizer" in fields else {**FIT, **fields}
    settings: Any = find_experiment("vectors").settings({"dataset": "mine", **given})
    (outcome,) = run(settings, [seed], Surroundings(data={"mine": source(description)}))
    return {name: value for name, value in outcome.metrics.items() if not name.endswith("per_second")}


@pytest.fixture
def mine(tmp_path: Path) -> Mapping[str, Any]:
    return described(tmp_path, "npy", TRAIN, TEST)


class TestVectors(ExperimentContract):
    experiment = "vectors"
    fields = {**FIT, "dataset": "mine"}
    not_results = frozenset({"encoded_per_second", "decoded_per_second"})

    @pytest.fixture(autouse=True)
    def _files(self, mine: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "data", {"mine": source(mine)})


def test_metrics_are_those_of_the_rows_in_their_own_units(mine: Mapping[str, Any]) -> None:
    found = measured(mine, quantizer="kmeans", codebook_size=2)
    centre = TRAIN.mean(0, dtype=np.float64)
    assert found["data_variance"] == pytest.approx(np.square(TEST - centre).mean(), rel=1e-5)
    assert found["loss_over_variance"] == pytest.approx(found["test_mse"] / found["data_variance"])
    assert 0 < found["loss_over_variance"] < 1
    assert (found["dimension"], found["train_rows"], found["test_rows"]) == (8, 1000, 200)
    assert found["vectors_per_code"] == 500
    assert found["bits_per_vector"] == 1
    assert 0.5 < found["entropy_bits_per_vector"] < 1.1
    assert found["codec_bytes"] == 4 * found["codebook_parameters"] == 4 * 2 * 8


def test_errors_and_counts_are_those_of_the_nearest_codes(mine: Mapping[str, Any]) -> None:
    found = measured(mine, **KMEANS, restarts=3)
    best = Lloyd(8, n_init=10, random_state=0).fit(TRAIN)
    codes = best.predict(TEST)
    assert found["test_mse"] == pytest.approx(np.square(TEST - best.cluster_centers_[codes]).mean(), rel=0.01)
    counts = np.bincount(codes, minlength=8)
    assert found["codes_used"] == [(counts > 0).sum()]
    assert found["perplexity"] == pytest.approx([perplexity(counts)], rel=0.01)
    assert found["unseen_codes"] == [unseen_codes(counts).estimate]


@pytest.mark.parametrize("scale", ["none", "whole", "features"])
@pytest.mark.parametrize("centre", [True, False])
def test_errors_do_not_depend_on_units_that_are_undone(scale: Scale, centre: bool, mine: Mapping[str, Any]) -> None:
    """k-means finds the same clusters of rows that are shifted and scaled as a whole."""
    plain = measured(mine, **KMEANS, centre=False, scale="none")
    found = measured(mine, **KMEANS, centre=centre, scale=scale)
    assert found["test_mse"] == pytest.approx(plain["test_mse"], rel=0.3 if scale == "features" else 0.02)
    assert found["data_variance"] == plain["data_variance"]


def test_undoing_gives_the_vectors_back() -> None:
    for scale in ("none", "whole", "features"):
        preparation = Preparation.fitted(TRAIN, centre=True, scale=scale)
        prepared = preparation.applied(TRAIN)
        assert prepared.dtype == np.float32
        np.testing.assert_allclose(prepared.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(preparation.undone(prepared), TRAIN, rtol=1e-5)
    assert np.square(Preparation.fitted(TRAIN, centre=True, scale="whole").applied(TRAIN)).mean() == pytest.approx(1)
    by_feature = Preparation.fitted(TRAIN, centre=True, scale="features").applied(TRAIN)
    np.testing.assert_allclose(by_feature.std(0), 1, rtol=1e-4)


def test_a_constant_column_is_not_divided_by_zero() -> None:
    rows = TRAIN.copy()
    rows[:, 2] = 7
    preparation = Preparation.fitted(rows, centre=True, scale="features")
    assert np.isfinite(preparation.applied(rows)).all()
    assert (preparation.undone(preparation.applied(rows))[:, 2] == 7).all()


def test_directions_have_length_one_and_zeros_stay() -> None:
    found = directions(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0, 0]]), rtol=1e-6)


def test_normalised_rows_are_measured_as_directions(tmp_path: Path, mine: Mapping[str, Any]) -> None:
    beforehand = described(tmp_path / "directions", "npy", directions(TRAIN), directions(TEST))
    one, other = measured(mine, **KMEANS, normalise=True), measured(beforehand, **KMEANS)
    assert one["data_variance"] == pytest.approx(other["data_variance"], rel=1e-5)
    assert one["data_variance"] < 0.1


def test_the_seed_changes_the_fit_and_no_row(mine: Mapping[str, Any]) -> None:
    first, second = measured(mine, 0), measured(mine, 1)
    assert first["test_mse"] != second["test_mse"]
    for name in ("data_sha256", "data_variance", "train_rows", "test_rows"):
        assert first[name] == second[name]


def test_order_and_format_of_a_file_change_no_metric(tmp_path: Path, mine: Mapping[str, Any]) -> None:
    shuffled = np.random.default_rng(0).permutation(len(TRAIN))
    other = described(tmp_path / "other", "parquet of lists", TRAIN[shuffled], TEST[::-1])
    assert measured(other) == measured(mine)


def test_a_streamed_test_set_has_the_metrics_of_one_in_memory(
    tmp_path: Path, mine: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = measured(mine)
    monkeypatch.setattr(data, "_MOST_NUMBERS_KEPT", 100)
    monkeypatch.setattr("dvq_ray.experiments.vectors.rows._NUMBERS_AT_ONCE", 80)
    streamed = measured(described(tmp_path / "streamed", "npy", TRAIN, TEST))
    for name, value in kept.items():
        expected = value if isinstance(value, str) else pytest.approx(value, rel=1e-12)
        assert streamed[name] == expected, name


def test_more_bits_find_more_neighbours(mine: Mapping[str, Any]) -> None:
    few, many = (measured(mine, codebook_size=size, steps=300) for size in (2, 64))
    assert few["recall_at_10"] < many["recall_at_10"]
    assert few["distance_error"] > many["distance_error"]
    assert few["recall_at_1"] <= few["recall_at_10"] <= few["recall_at_100"]


def test_a_subsample_is_learned_from_and_searched_among_all(mine: Mapping[str, Any]) -> None:
    found, everything = measured(mine, rows=100, codebook_size=2), measured(mine, codebook_size=2)
    assert found["train_rows"] == 100
    assert found["vectors_per_code"] == 50
    assert found["data_sha256"] == everything["data_sha256"]


FIELDS: dict[str, dict[str, Any]] = {
    "vq": {"codebook_size": 8, "start": "k-means++"},
    "dvq": {"codebook_size": 8, "start": "k-means++", "slices": 2},
    "kmeans": {"codebook_size": 8, "start": "k-means++"},
    "pq": {"codebook_size": 8, "slices": 2},
    "opq": {"codebook_size": 8, "slices": 2},
    "rvq": {"codebook_size": 8, "stages": 2},
    "grvq": {"codebook_size": 8, "stages": 2, "slices": 2},
    "lsq": {"codebook_size": 8, "additive_codebooks": 2, "training_rounds": 5},
    "faiss": {"factory_string": "PQ2x4", "features": 8},
    "fsq": {"levels": "8x8x8x8", "steps": 200},
    "lfq": {"sign_bits": 4, "steps": 200},
    "bsq": {"sign_bits": 4, "steps": 200},
    "simvq": {"codebook_size": 8, "steps": 200},
    "vector_quantize_pytorch": {"library_call": "VectorQuantize(codebook_size=8)", "steps": 200},
}


@pytest.mark.long
@pytest.mark.parametrize("quantizer", find_experiment("vectors").quantizers)
def test_every_quantizer_is_swept(quantizer: str, tmp_path: Path, mine: Mapping[str, Any]) -> None:
    sweep = {
        "name": "x", "trainable": "vectors", "seeds": 2, "data": {"mine": mine}, "fixed": {"dataset": "mine"},
        "grids": {"a": {"quantizer": quantizer, **FIELDS[quantizer]}},
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    done = CliRunner().invoke(
        main, [str(tmp_path / "sweep.yaml"), "--results", str(tmp_path / "results"), "--in-process"]
    )
    assert done.exit_code == 0, done.output
    rows = pd.read_parquet(tmp_path / "results" / "x" / "cells")
    assert (rows["status"] == "ok").all()
    assert (rows["loss_over_variance"] < (0.6 if "start" in FIELDS[quantizer] else 1.1)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_agrees_with_the_cpu(mine: Mapping[str, Any]) -> None:
    settings: Any = find_experiment("vectors").settings({**FIT, "dataset": "mine"})
    on_gpu = list(run(settings, [0, 1], Surroundings(device="cuda", data={"mine": source(mine)})))
    for seed, outcome in enumerate(on_gpu):
        assert outcome.metrics["test_mse"] == pytest.approx(measured(mine, seed)["test_mse"], rel=0.02)


@pytest.mark.long
@pytest.mark.skipif(not REAL.exists(), reason="needs the small real data sets")
@pytest.mark.parametrize(
    ("name", "ending", "variance"), [("bigann", "bvecs", 141_626), ("sift", "fvecs", 95_013), ("text", "npy", 0.139)]
)
def test_real_vectors_have_the_variance_that_is_known(name: str, ending: str, variance: float) -> None:
    description = {"format": ending, "train": f"{REAL}/{name}_train.{ending}", "test": f"{REAL}/{name}_test.{ending}"}
    found = measured(description, slices=8, codebook_size=16, steps=500)
    assert found["data_variance"] * found["dimension"] == pytest.approx(variance, rel=0.05)
    assert found["loss_over_variance"] < 0.9
    assert found["recall_at_100"] > 0.3
