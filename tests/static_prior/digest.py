"""The bytes of some fits by the compiled kernel, which processes of their own import without torch or pytest."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from dvq_ray.fitting.codebooks import fit_codebooks
from dvq_ray.fitting.problem import FitProblem


@cache
def digest_of_fits() -> str:
    """Digest of all bytes of fits whose inputs involve no library's arithmetic."""
    digest = hashlib.sha256()
    for dimension, codes, slices in ((8, 16, 1), (24, 40, 2), (5, 100, 1)):
        samples = (np.arange(700 * dimension) * 7919 % 10007 / 1024).astype(np.float32).reshape(700, dimension)
        shape = (slices, codes, dimension // slices)
        problem = FitProblem(
            train=samples[:500],
            test=samples[500:],
            codebooks=(np.arange(codes * dimension) * 6007 % 9973 / 1024).astype(np.float32).reshape(shape),
            batches=(np.arange(200 * 37) * 104729 % 500).reshape(200, 37),
        )
        (result,) = fit_codebooks([problem], learning_rates=np.full(200, 0.125), implementation="compiled")
        digest.update(
            result.codebooks.tobytes() + result.curve_test_mse.tobytes() + np.stack(result.code_counts).tobytes()
        )
    return digest.hexdigest()
