from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dvq_ray.static_prior.blobs import draw_blobs
from dvq_ray.static_prior.kmeans import fit_kmeans
from dvq_ray.static_prior.problem import FitResult
from dvq_ray.streams import stream

BLOBS = draw_blobs(factors=16, dimension=8, train_samples=2000, test_samples=500, rng=stream(0, "data"))


def _fit(slices: int = 1, codes: int = 16, restarts: int = 1, max_iterations: int = 100) -> FitResult:
    return fit_kmeans(
        train=BLOBS.train,
        test=BLOBS.test,
        slices=slices,
        codes=codes,
        start="k-means++",
        restarts=restarts,
        max_iterations=max_iterations,
        rng=stream(0, "codebooks"),
    )


def test_a_code_for_each_blob_reaches_the_noise() -> None:
    result = _fit(restarts=10)
    assert 0.95 < result.test_mse < 1.05
    assert 0.95 < result.train_mse < 1.05
    assert result.diverged_at_step is None
    assert len(result.curve_steps) == 0


def test_the_errors_are_those_of_scikit_learn() -> None:
    result = _fit(slices=2, codes=20)
    parts = [BLOBS.train[:, :4], BLOBS.train[:, 4:]]
    rng = stream(0, "codebooks")
    models = [KMeans(20, n_init=1, max_iter=100, random_state=int(rng.integers(2**32))).fit(part) for part in parts]
    inertia = sum(model.inertia_ for model in models)
    np.testing.assert_allclose(result.train_mse, inertia / BLOBS.train.size, rtol=1e-3)
    assert result.code_counts.shape == (2, 20)
    assert (result.code_counts.sum(1) == 2000).all()


def test_slices_are_clustered_on_their_own_and_beat_one_codebook() -> None:
    assert _fit(slices=4, codes=8).test_mse < _fit(slices=1, codes=8).test_mse


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    with threadpool_limits(1):
        first = _fit(codes=64)
    with threadpool_limits(2):
        assert _fit(codes=64).codebooks.tobytes() == first.codebooks.tobytes()


def test_iterations_and_restarts_lower_the_error() -> None:
    assert _fit(codes=64, max_iterations=50).train_mse < _fit(codes=64, max_iterations=1).train_mse
    assert _fit(codes=64, restarts=10).train_mse < _fit(codes=64, restarts=1).train_mse


def test_more_codes_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="n_samples"):
        _fit(codes=2001)
