from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.factorial_prior import EXPERIMENT
from dvq_ray.experiments.static_prior.blobs import Blobs, draw_factorial_blobs, mixed_features
from dvq_ray.experiments.static_prior.run import run
from dvq_ray.streams import stream
from dvq_ray.sweep.cells import expand
from dvq_ray.sweep.spec import load_sweep

SHAPE = {"groups": 3, "centres": 4, "dimension": 48, "train_samples": 6000, "test_samples": 2000}


def drawn(dependence: float = 0.0, seed: int = 0) -> Blobs:
    return draw_factorial_blobs(**SHAPE, dependence=dependence, rng=np.random.default_rng(seed))


def picked(blobs: Blobs, seed: int = 0) -> np.ndarray:
    """`[samples, groups]` the number of the nearest centre of each group; centres are the first that are drawn."""
    places = np.random.default_rng(seed).random((3, 4, 16), dtype=np.float32) * 20 - 10
    samples = np.concatenate([blobs.train, blobs.test]).reshape(-1, 3, 1, 16)
    return np.asarray(np.square(samples - places).sum(axis=-1).argmin(axis=-1))


def mutual_information_bits(one: np.ndarray, other: np.ndarray) -> float:
    joint = np.histogram2d(one, other, bins=4)[0] / len(one)
    outer = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / outer[there])).sum())


def test_every_combination_of_centres_comes_about() -> None:
    combinations = {tuple(row) for row in picked(drawn())}
    assert len(combinations) == 4**3


def test_around_its_centres_a_sample_has_deviation_one() -> None:
    blobs = drawn()
    places = np.random.default_rng(0).random((3, 4, 16), dtype=np.float32) * 20 - 10
    samples = np.concatenate([blobs.train, blobs.test])
    numbers = picked(blobs)
    means = np.concatenate([places[group, numbers[:, group]] for group in range(3)], axis=1)
    assert np.square(samples - means).mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("dependence", [0.0, 0.5, 1.0])
def test_dependence_leaves_how_often_each_centre_is_picked(dependence: float) -> None:
    shares = [np.bincount(numbers, minlength=4) / len(numbers) for numbers in picked(drawn(dependence)).T]
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


def test_groups_are_independent_or_share_as_much_as_is_asked() -> None:
    shared = []
    for dependence in (0.0, 0.5, 1.0):
        numbers = picked(drawn(dependence))
        shared.append(mutual_information_bits(numbers[:, 0], numbers[:, 1]))
    assert shared[0] < 0.01
    # Both take the shared number with chance 1/4, and are independent else: p = 1/16 off the diagonal less a quarter.
    same, other = 0.25 / 4 + 0.75 / 16, 0.75 / 16
    expected = 4 * same * np.log2(same * 16) + 12 * other * np.log2(other * 16)
    assert shared[1] == pytest.approx(expected, abs=0.03)
    assert shared[2] == pytest.approx(2.0, abs=0.05)


def test_as_many_codes_as_centres_reach_the_spread_where_each_finds_its_own() -> None:
    settings = find_experiment("factorial_prior").settings(
        {"quantizer": "kmeans", "dimension": 16, "groups": 2, "slices": 2, "centres": 4, "codebook_size": 4,
         "restarts": 20}
    )  # fmt: skip
    (outcome,) = run(settings, [0], Surroundings())  # type: ignore[arg-type]
    assert outcome.metrics["test_mse"] == pytest.approx(1.0, abs=0.03)
    whole = find_experiment("factorial_prior").settings(
        {"quantizer": "kmeans", "dimension": 16, "groups": 2, "centres": 4, "codebook_size": 4, "restarts": 20}
    )
    (outcome,) = run(whole, [0], Surroundings())  # type: ignore[arg-type]
    assert outcome.metrics["test_mse"] > 5, "four codes for sixteen blobs"


@pytest.mark.parametrize("quantizer", ["vq", "dvq", "kmeans"])
def test_groups_must_be_equal_parts_of_the_features(quantizer: str) -> None:
    fields = {"quantizer": quantizer, "dimension": 16, "groups": 3, "centres": 4, "codebook_size": 4}
    with pytest.raises(ValidationError, match="groups does not divide dimension = 16; allowed: 1, 2, 4, 8, 16"):
        find_experiment("factorial_prior").settings(fields | ({"slices": 2} if quantizer == "dvq" else {}))


def test_the_sweep_holds_what_it_says() -> None:
    sweeps = Path(__file__).parents[2] / "sweeps"
    cells, _ = expand(load_sweep(sweeps / "factorial.yaml"))
    assert len(cells) == 10 * (12 + 12 + 12 + 6)
    other_starts, _ = expand(load_sweep(sweeps / "factorial_starts.yaml"))
    assert len(other_starts) == 10 * (6 + 6)
    assert not {cell.cell_id for cell in cells} & {cell.cell_id for cell in other_starts}


def test_mixing_keeps_distances_and_spreads_each_feature_over_all_others() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 24)).astype(np.float32)
    turned = mixed_features(vectors, 1.0, stream(0, "mixing"))
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-4)
    matrix = mixed_features(np.eye(24, dtype=np.float32), 1.0, stream(0, "mixing"))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(24), atol=1e-6)
    assert (np.abs(matrix) > 1e-6).all()
    np.testing.assert_array_equal(mixed_features(vectors, 0.0, stream(0, "mixing")), vectors)


def test_full_mixing_is_close_to_a_random_rotation() -> None:
    """Of a random rotation an entry has the mean 0, the variance 1 / D and the kurtosis 3 D / (D + 2)."""
    matrices = np.stack([mixed_features(np.eye(16, dtype=np.float32), 1.0, stream(i, "mixing")) for i in range(400)])
    assert abs(matrices.mean()) < 0.005
    assert matrices.var() * 16 == pytest.approx(1, abs=1e-5)
    assert (matrices**4).mean() / matrices.var() ** 2 == pytest.approx(3 * 16 / 18, rel=0.15)


def test_a_little_mixing_is_a_small_rotation() -> None:
    matrix = mixed_features(np.eye(16, dtype=np.float32), 0.02, stream(0, "mixing"))
    assert np.diag(matrix).min() > 0.9


def test_mixing_0_is_the_cell_that_was_there_before_there_was_mixing() -> None:
    fields = {"quantizer": "dvq", "dimension": 16, "groups": 4, "centres": 4, "slices": 4, "codebook_size": 4}
    plain, mixed = (EXPERIMENT.settings({**fields, **more}) for more in ({}, {"mixing": 0.5}))
    assert "mixing" not in plain.identity()
    assert mixed.identity()["mixing"] == 0.5
    one, other = plain.draw(0), mixed.draw(0)  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.linalg.norm(one.train, axis=1), np.linalg.norm(other.train, axis=1), rtol=1e-5)
    assert not np.allclose(one.train, other.train)
