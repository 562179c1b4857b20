from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.datasets import make_blobs

from dvq_ray.experiment.registry import find_experiment
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.experiments.static_prior import run
from dvq_ray.experiments.static_prior.blobs import Blobs, draw_blobs
from dvq_ray.experiments.static_prior.settings import BlobSettings
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.streams import stream


def _draw(seed: int = 0, **sizes: int) -> Blobs:
    return draw_blobs(
        **{"factors": 8, "dimension": 16, "train_samples": 700, "test_samples": 300} | sizes,
        rng=stream(seed, "data"),
    )


def _labels(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Blobs found by distance: in 64 dimensions two samples of a blob are about 11 apart, of two about 66."""
    labels = np.full(len(samples), -1)
    while (labels < 0).any():
        distances = np.linalg.norm(samples - samples[np.argmax(labels < 0)], axis=1)
        labels[distances < 30] = labels.max() + 1
    return labels


def test_shapes_and_types() -> None:
    blobs = _draw()
    assert blobs.train.shape == (700, 16)
    assert blobs.test.shape == (300, 16)
    assert blobs.train.dtype == blobs.test.dtype == np.float32


def test_the_same_stream_gives_the_same_bytes() -> None:
    assert _draw().train.tobytes() == _draw().train.tobytes()
    assert _draw().train.tobytes() != _draw(seed=1).train.tobytes()


@pytest.mark.parametrize("factors", [1, 7, 50, 3000])
def test_blobs_are_as_even_as_make_blobs_makes_them(factors: int) -> None:
    blobs = _draw(factors=factors, dimension=64, train_samples=800, test_samples=203)
    sizes = np.bincount(_labels(np.concatenate([blobs.train, blobs.test])))
    _, labels = make_blobs(n_samples=1003, n_features=2, centers=factors, random_state=0)
    np.testing.assert_array_equal(np.sort(sizes), np.sort(np.bincount(labels)[np.bincount(labels) > 0]))


def test_train_and_test_are_different_samples_of_the_same_blobs() -> None:
    blobs = _draw(dimension=64)
    labels = _labels(np.concatenate([blobs.train, blobs.test]))
    assert set(labels[:700]) == set(labels[700:])
    assert not set(map(bytes, blobs.train)) & set(map(bytes, blobs.test))
    # The order is random: neighbours share a blob as often as chance has it.
    assert abs(np.mean(labels[1:] == labels[:-1]) - 1 / 8) < 0.05


def test_centres_are_uniform_in_the_box_and_the_noise_is_standard_normal() -> None:
    blobs = _draw(factors=100, dimension=64, train_samples=9000, test_samples=1000)
    samples = np.concatenate([blobs.train, blobs.test])
    grouped = samples[np.argsort(_labels(samples))].reshape(100, 100, 64)
    centres = grouped.mean(axis=1)
    assert stats.kstest(centres.ravel(), stats.uniform(-10, 20).cdf).pvalue > 0.01
    residuals = (grouped - centres[:, None]) * np.sqrt(100 / 99)
    assert stats.kstest(residuals.ravel()[::7], stats.norm.cdf).pvalue > 0.01
    np.testing.assert_allclose(residuals.std(), 1, atol=0.005)


def test_statistics_match_make_blobs() -> None:
    ours = [_draw(seed=seed, factors=300, dimension=3, train_samples=900, test_samples=1) for seed in range(20)]
    theirs = [make_blobs(n_samples=900, n_features=3, centers=300, random_state=seed)[0] for seed in range(20)]
    a, b = np.concatenate([blobs.train for blobs in ours]), np.concatenate(theirs)
    for x, y in ((a, b), (np.diff(a, axis=0), np.diff(b, axis=0))):
        assert stats.ks_2samp(x.ravel(), y.ravel()).pvalue > 0.01
        norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
        assert stats.ks_2samp(*norms).pvalue > 0.01


def _changed_by(quantizer: str, change: Callable[[npt.NDArray[np.float32]], None]) -> dict[str, Any]:
    """The metrics of a cell after one whose fit changed its vectors."""
    experiment = find_experiment("static_prior")
    fields = {"dimension": 4, "factors": 8, "train_samples": 500, "codebook_size": 4, "quantizer": quantizer}
    settings = experiment.settings(fields)
    assert isinstance(settings, BlobSettings)

    def spoiling(settings: Any, repetitions: Sequence[Data], device: str) -> Iterator[FitResult]:
        for data in repetitions:
            change(data.train)
            change(data.test)
        return fit(settings, repetitions, device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "fit", spoiling)
        list(run.run(settings, [0], Surroundings()))
    (outcome,) = run.run(settings, [0], Surroundings())
    return dict(outcome.metrics)


def test_a_fit_that_changes_its_vectors_changes_none_of_the_next_cell() -> None:
    def doubled(vectors: npt.NDArray[np.float32]) -> None:
        vectors *= 2

    assert _changed_by("kmeans", doubled) == _changed_by("kmeans", lambda vectors: None)


def test_vectors_are_drawn_once_for_all_quantizers_of_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def counted(**sizes: Any) -> Blobs:
        drawn.append(sizes["dimension"])
        return draw_blobs(**sizes)

    monkeypatch.setattr("dvq_ray.experiments.static_prior.blobs.draw_blobs", counted)
    experiment = find_experiment("static_prior")
    for dimension, quantizer in [(6, "vq"), (6, "kmeans"), (12, "vq"), (6, "vq")]:
        fields = {"dimension": dimension, "factors": 8, "train_samples": 500, "codebook_size": 4, "steps": 3}
        if quantizer == "kmeans":
            del fields["steps"]
        settings = experiment.settings({**fields, "quantizer": quantizer})
        list(run.run(settings, [0], Surroundings()))  # type: ignore[arg-type]
    assert drawn == [6, 12]


def test_what_decides_the_vectors_is_all_of_their_fields_and_the_seed() -> None:
    experiment = find_experiment("factorial_prior")
    usual = {"quantizer": "vq", "codebook_size": 4, "dimension": 8, "groups": 2, "centres": 4, "train_samples": 100}
    others = (
        {"dimension": 4},
        {"groups": 4},
        {"centres": 5},
        {"dependence": 0.5},
        {"mixing": 0.5},
        {"train_samples": 9},
    )
    settings = [experiment.settings({**usual, **other}) for other in ({}, *others)]
    assert all(isinstance(each, BlobSettings) for each in settings)
    assert len({each.data_key(seed) for each in settings for seed in (0, 1)}) == 2 * len(settings)  # type: ignore[attr-defined]
    other_codes = experiment.settings({**usual, "codebook_size": 8, "steps": 7})
    assert other_codes.data_key(0) == settings[0].data_key(0)  # type: ignore[attr-defined]
