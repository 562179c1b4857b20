"""k-means on the static prior: what codebooks of the same size could reach, had training found them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dvq_ray.static_prior.compiled import evaluate
from dvq_ray.static_prior.problem import FitResult


def fit_kmeans(
    *,
    train: npt.NDArray[np.float32],
    test: npt.NDArray[np.float32],
    slices: int,
    codes: int,
    start: Literal["random", "k-means++"],
    restarts: int,
    max_iterations: int,
    rng: np.random.Generator,
) -> FitResult:
    """Lloyd's algorithm for each slice; of `restarts` the one with the least training error is kept.

    `train` and `test` are [samples, dimension]; the slices divide the dimension. The curve is empty. Raises
    ValueError where there are fewer training samples than codes.
    """
    slice_dim = train.shape[1] // slices
    codebooks = np.empty((slices, codes, slice_dim), dtype=np.float32)
    # With several threads, BLAS and scikit-learn sum in an order that depends on how many there are.
    with threadpool_limits(limits=1):
        for s in range(slices):
            estimator = KMeans(
                n_clusters=codes,
                init=start,
                n_init=restarts,
                max_iter=max_iterations,
                random_state=int(rng.integers(2**32)),
                copy_x=False,
            )
            part = np.array(train[:, s * slice_dim : (s + 1) * slice_dim], order="C")
            codebooks[s] = estimator.fit(part).cluster_centers_
    train_mse, code_counts = evaluate(codebooks, train)
    test_mse, _ = evaluate(codebooks, test)
    return FitResult(
        codebooks=codebooks,
        curve_steps=np.empty(0, dtype=np.int64),
        curve_test_mse=np.empty(0),
        train_mse=train_mse,
        test_mse=test_mse,
        code_counts=code_counts,
        diverged_at_step=None,
    )
