from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.datasets import make_blobs

from dvq_ray.experiments.static_prior.blobs import Blobs, draw_blobs
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
