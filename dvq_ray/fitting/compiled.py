"""The fit by the compiled kernel: arrays in, arrays out, one CPU core, the GIL released."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dvq_ray.fitting import kernel_cache
from dvq_ray.fitting.codecs.codebooks import CodebookCodec
from dvq_ray.fitting.problem import BETAS, CodebookFitResult, FitProblem, curve_steps

try:
    from dvq_ray.fitting import kernel
except Exception:  # what numba kept cannot be read, or it cannot be written
    kernel_cache.give_up()
    from dvq_ray.fitting import kernel

BLOCK, LANES, PANELS = kernel.BLOCK, kernel.LANES, kernel.PANELS


def _aligned(shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> npt.NDArray[Any]:
    """Zeros that begin at a cache line: vectors that straddle two cost twice."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.zeros(size + 64, dtype=np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size].view(dtype).reshape(shape)


class Codebooks:
    """Codebooks in panels, and the scratch memory of the kernels."""

    def __init__(
        self, codebooks: npt.NDArray[np.float32], batch: int, half_norms: npt.NDArray[np.float32] | None = None
    ) -> None:
        """`half_norms` [slices, codes] are the |e|^2 / 2 that training left, where it did."""
        self.slices, self.size, self.slice_dim = codebooks.shape
        panels = -(-self.size // LANES)
        if panels > 1:
            panels = -(-panels // PANELS) * PANELS
        padded, stride = panels * LANES, -(-self.slice_dim // LANES) * LANES
        self.codes = _aligned((self.slices, padded, stride))
        self.codes[:, : self.size, : self.slice_dim] = codebooks
        self.e = _aligned((self.slices, panels, self.slice_dim, LANES))
        self.e[:] = self.codes.reshape(self.slices, panels, LANES, stride)[..., : self.slice_dim].swapaxes(2, 3)
        # Codes that only fill a panel up are infinitely far away.
        self.padding = np.where(np.arange(padded) < self.size, 0, np.inf).astype(np.float32)
        self.half_norms = _aligned((self.slices, padded))
        if half_norms is None:
            for d in range(self.slice_dim):
                self.half_norms += self.codes[:, :, d] ** 2
            self.half_norms *= 0.5
        else:
            self.half_norms[:, : self.size] = half_norms
        self.half_norms += self.padding
        self.m, self.v = _aligned(self.e.shape), _aligned(self.e.shape)
        self.totals = _aligned((self.slices, stride), np.float64)
        self.counts = np.zeros((self.slices, padded), np.int64)
        rows = max(BLOCK, -(-batch // LANES) * LANES)
        self.scratch = (
            np.zeros(rows, np.int64),
            _aligned((rows, LANES)),
            _aligned((rows, LANES), np.int32),
            np.zeros(rows, np.int32),
        )

    def evaluate(
        self, samples: npt.NDArray[np.float32], nearest: npt.NDArray[np.int32] | None = None
    ) -> tuple[float, npt.NDArray[np.int64]]:
        """Mean squared error per dimension, and how often each code is the nearest [slices, codes].

        Writes which one is into `nearest` [samples, slices].
        """
        mse = kernel.evaluate(
            samples,
            self.e,
            self.half_norms,
            self.padding,
            self.codes,
            self.totals,
            self.counts,
            self._not_wanted() if nearest is None else nearest,
            *self.scratch,
        )
        return mse, self.used()

    def used(self) -> npt.NDArray[np.int64]:
        """How often each code was the nearest in the last evaluation [slices, codes]."""
        return self.counts[:, : self.size].copy()

    def train(
        self, problem: FitProblem, rates: npt.NDArray[np.float64], logged: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Trains the codes in place and returns the test error at the steps `logged`, as far as it came."""
        beta1, beta2 = BETAS
        # A running product, not a power: libraries round powers differently.
        step_sizes = rates / (1 - np.cumprod(np.full(len(rates), beta1)))
        root_scales = 1 / np.sqrt(1 - np.cumprod(np.full(len(rates), beta2)))
        curve = np.zeros(len(logged))
        stride = self.codes.shape[2]
        with np.errstate(over="ignore"):  # a step size beyond float32 is infinite, and the fit diverges
            step_sizes, root_scales = step_sizes.astype(np.float32), root_scales.astype(np.float32)
        points = kernel.train(
            np.ascontiguousarray(problem.train),
            np.ascontiguousarray(problem.test),
            np.ascontiguousarray(problem.batches, dtype=np.int32),
            step_sizes,
            root_scales,
            logged,
            curve,
            self.e,
            self.m,
            self.v,
            self.half_norms,
            self.padding,
            self.codes,
            self.totals,
            self.counts,
            self._not_wanted(),
            np.zeros(self.e.shape[:2], np.uint8),
            _aligned((LANES, stride)),
            _aligned((1 + stride, LANES)),
            _aligned((1 + stride, LANES)),
            np.zeros(self.e.shape[1], np.int32),
            np.zeros(problem.batches.shape[1], np.int32),
            *self.scratch,
        )
        return curve[:points]

    def _not_wanted(self) -> npt.NDArray[np.int32]:
        return np.empty((0, self.slices), np.int32)

    def unpack(self, panels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[slices, panels, slice_dim, 16] to [slices, codes, slice_dim]"""
        rows = panels.swapaxes(2, 3).reshape(self.slices, -1, self.slice_dim)
        return rows[:, : self.size].copy()


def evaluate(
    codebooks: npt.NDArray[np.float32],
    samples: npt.NDArray[np.float32],
    half_norms: npt.NDArray[np.float32] | None = None,
) -> tuple[float, npt.NDArray[np.int64]]:
    """Mean squared error per dimension, and how often each code is the nearest [slices, codes].

    `codebooks` is [slices, codes, slice_dim], `samples` [samples, slices * slice_dim]; `half_norms` as of `Codebooks`.
    """
    return Codebooks(codebooks, BLOCK, half_norms).evaluate(np.ascontiguousarray(samples))


def fit(problem: FitProblem, learning_rates: npt.NDArray[np.float64]) -> CodebookFitResult:
    """Fits one repetition on the calling thread, without holding the GIL; see `fit_codebooks`."""
    codebooks = Codebooks(problem.codebooks, problem.batches.shape[1])
    logged = curve_steps(len(learning_rates))
    curve = codebooks.train(problem, learning_rates, logged)
    test_code_counts = codebooks.used()  # training ends with the test vectors
    train_mse, code_counts = codebooks.evaluate(np.ascontiguousarray(problem.train))
    trained = codebooks.unpack(codebooks.e)
    return CodebookFitResult(
        codec=CodebookCodec(trained, codebooks.half_norms[:, : codebooks.size].copy()),
        codebooks=trained,
        curve_steps=logged[: len(curve)],
        curve_test_mse=curve,
        train_mse=train_mse,
        test_mse=float(curve[-1]),
        code_counts=list(code_counts),
        test_code_counts=list(test_code_counts),
        diverged_at_step=None if np.isfinite(curve[-1]) else int(logged[len(curve) - 1]),
    )
