from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.cluster import KMeans as Lloyd
from threadpoolctl import threadpool_limits

from dvq_ray.experiments.static_prior.blobs import draw_blobs
from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.fitting.fit import Data, fit
from dvq_ray.fitting.problem import FitResult
from dvq_ray.quantizers.kmeans import KMeans
from dvq_ray.streams import stream

BLOBS = draw_blobs(factors=16, dimension=8, train_samples=2000, test_samples=500, rng=stream(0, "data"))


def _settings(**fields: Any) -> KMeans:
    return KMeans.model_validate({"quantizer": "kmeans", "start": "k-means++", **fields})


def _fit(slices: int = 1, codes: int = 16, restarts: int = 1, max_iterations: int = 100) -> FitResult:
    settings = _settings(slices=slices, codebook_size=codes, restarts=restarts, max_iterations=max_iterations)
    (result,) = fit(settings, [Data(seed=0, train=BLOBS.train, test=BLOBS.test)], "cpu")
    return result


def test_a_code_for_each_blob_reaches_the_noise() -> None:
    result = _fit(restarts=10)
    assert 0.95 < result.test_mse < 1.05
    assert 0.95 < result.train_mse < 1.05
    assert result.diverged_at_step is None
    assert len(result.curve_steps) == 0


def test_the_errors_are_those_of_scikit_learn() -> None:
    result = _fit(slices=2, codes=20)
    parts = [BLOBS.train[:, :4], BLOBS.train[:, 4:]]
    rng = stream(0, KMeans.stream)
    models = [Lloyd(20, n_init=1, max_iter=100, random_state=int(rng.integers(2**32))).fit(part) for part in parts]
    inertia = sum(model.inertia_ for model in models)
    np.testing.assert_allclose(result.train_mse, inertia / BLOBS.train.size, rtol=1e-3)
    assert np.shape(result.code_counts) == (2, 20)
    assert (np.sum(result.code_counts, axis=1) == 2000).all()


def test_slices_are_clustered_on_their_own_and_beat_one_codebook() -> None:
    assert _fit(slices=4, codes=8).test_mse < _fit(slices=1, codes=8).test_mse


@pytest.mark.parametrize("start", ["random", "k-means++", "best"])
def test_bytes_do_not_depend_on_the_number_of_threads(start: str) -> None:
    with threadpool_limits(1):
        first = _codebooks(start=start)
    with threadpool_limits(2):
        assert _codebooks(start=start).tobytes() == first.tobytes()


@pytest.mark.parametrize(("codes", "restarts"), [(4, 1), (6, 3), (16, 1), (40, 3), (300, 1)])
def test_the_best_start_keeps_for_each_slice_the_codes_of_the_kind_with_the_least_training_error(
    codes: int, restarts: int
) -> None:
    """With 4 and 6 codes each kind is the better one in one of the two slices."""
    fields = {"codebook_size": codes, "restarts": restarts, "slices": 2}
    by_kind = [_codebooks(**fields, start=start) for start in ("random", "k-means++")]
    best = _codebooks(**fields, start="best")
    for place, part in enumerate((BLOBS.train[:, :4], BLOBS.train[:, 4:])):
        errors = [_squared_distances(part, kind[place]) for kind in by_kind]
        assert (best[place] == by_kind[int(np.argmin(errors))][place]).all()


def test_the_best_start_takes_as_long_as_both_kinds_together() -> None:
    by_start = {start: _settings(codebook_size=16, restarts=5, start=start).fit_seconds(10**7, 64)
                for start in ("random", "k-means++", "best")}  # fmt: skip
    assert by_start["best"] == pytest.approx(by_start["random"] + by_start["k-means++"], rel=1e-3)


def _squared_distances(vectors: npt.NDArray[np.float32], codes: npt.NDArray[np.float32]) -> float:
    return float(np.square(vectors[:, np.newaxis].astype(float) - codes).sum(-1).min(-1).sum())


def test_a_code_decodes_to_the_mean_of_its_cluster() -> None:
    codec = _settings(codebook_size=20, slices=2).fit(BLOBS.train, stream(0, "codebooks"))
    codes = codec.encode(BLOBS.train)
    assert codes.shape == (2000, 2)
    decoded = codec.decode(codes)
    for place in range(2):
        part = slice(4 * place, 4 * place + 4)
        for code in range(20):
            here = codes[:, place] == code
            assert (decoded[here, part] == decoded[here, part][0]).all()
            np.testing.assert_allclose(decoded[here, part][0], BLOBS.train[here, part].mean(0), atol=0.1)


def _codebooks(**fields: Any) -> npt.NDArray[np.float32]:
    codec = _settings(**{"codebook_size": 64, **fields}).fit(BLOBS.train, stream(0, "codebooks"))
    assert isinstance(codec, CodebookCodec)
    return codec.codebooks


def test_iterations_and_restarts_lower_the_error() -> None:
    assert _fit(codes=64, max_iterations=50).train_mse < _fit(codes=64, max_iterations=1).train_mse
    assert _fit(codes=64, restarts=10).train_mse < _fit(codes=64, restarts=1).train_mse


def test_more_codes_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="n_samples"):
        _fit(codes=2001)
