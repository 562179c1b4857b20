from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from dvq_ray.experiments.static_prior.blobs import draw_blobs
from dvq_ray.fitting import reference
from dvq_ray.fitting.codebooks import Implementation, fit_codebooks
from dvq_ray.fitting.problem import CodebookFitResult, FitProblem, curve_steps, learning_rates
from dvq_ray.streams import stream

# The products are so small that threads only wait for each other.
torch.set_num_threads(1)

IMPLEMENTATIONS: list[Implementation] = ["compiled", "torch"]


def make_problem(
    dimension: int = 8,
    codes: int = 16,
    slices: int = 1,
    *,
    steps: int = 25,
    batch: int = 64,
    train_samples: int = 1000,
    test_samples: int = 203,
    init_bound: float = 1.0,
    seed: int = 0,
) -> FitProblem:
    blobs = draw_blobs(
        factors=64,
        dimension=dimension,
        train_samples=train_samples,
        test_samples=test_samples,
        rng=stream(seed, "data"),
    )
    shape = (slices, codes, dimension // slices)
    return FitProblem(
        train=blobs.train,
        test=blobs.test,
        codebooks=stream(seed, "codebooks").uniform(-init_bound, init_bound, shape).astype(np.float32),
        batches=stream(seed, "batches").integers(train_samples, size=(steps, batch), dtype=np.int32),
    )


def run(problem: FitProblem, implementation: Implementation, *, learning_rate: float = 0.3) -> CodebookFitResult:
    rates = learning_rates("cosine", learning_rate, len(problem.batches))
    (result,) = fit_codebooks([problem], learning_rates=rates, implementation=implementation)
    return result


def mse_by_hand(codebooks: np.ndarray, samples: np.ndarray) -> tuple[float, np.ndarray]:
    slices, codes, slice_dim = codebooks.shape
    parts = samples.astype(np.float64).reshape(len(samples), slices, slice_dim)
    distances = ((parts[:, :, None] - codebooks[None].astype(np.float64)) ** 2).sum(-1)
    counts = np.stack([np.bincount(distances[:, s].argmin(-1), minlength=codes) for s in range(slices)])
    return distances.min(-1).sum() / samples.size, counts


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_reported_errors_and_counts_are_those_of_the_codebooks(implementation: Implementation) -> None:
    problem = make_problem(8, 20, 2, steps=50)
    result = run(problem, implementation)
    test_mse, test_counts = mse_by_hand(result.codebooks, problem.test)
    train_mse, counts = mse_by_hand(result.codebooks, problem.train)
    untrained_mse, _ = mse_by_hand(problem.codebooks, problem.test)
    np.testing.assert_allclose([result.test_mse, result.train_mse], [test_mse, train_mse], rtol=1e-6)
    np.testing.assert_allclose(result.curve_test_mse[[0, -1]], [untrained_mse, test_mse], rtol=1e-6)
    np.testing.assert_array_equal(result.code_counts, counts)
    np.testing.assert_array_equal(result.test_code_counts, test_counts)
    np.testing.assert_array_equal(result.curve_steps, curve_steps(50))
    assert result.diverged_at_step is None
    assert result.codebooks.dtype == np.float32


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_slices_train_as_if_each_were_alone(implementation: Implementation) -> None:
    whole = make_problem(12, 10, 3, steps=200)
    result = run(whole, implementation)
    for s in range(3):
        part = slice(4 * s, 4 * s + 4)
        alone = replace(
            whole,
            train=np.ascontiguousarray(whole.train[:, part]),
            test=np.ascontiguousarray(whole.test[:, part]),
            codebooks=whole.codebooks[s : s + 1],
        )
        np.testing.assert_allclose(run(alone, implementation).codebooks[0], result.codebooks[s], atol=1e-3)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_repetition_gives_the_same_bytes_whatever_its_neighbours(implementation: Implementation) -> None:
    problems = [make_problem(16, 24, 2, steps=60, seed=seed) for seed in range(4)]
    rates = learning_rates("constant", 0.1, 60)
    together = list(fit_codebooks(problems, learning_rates=rates, implementation=implementation))
    for problem, result in zip(problems, together, strict=True):
        (alone,) = fit_codebooks([problem], learning_rates=rates, implementation=implementation)
        assert alone.codebooks.tobytes() == result.codebooks.tobytes()
        assert alone.curve_test_mse.tobytes() == result.curve_test_mse.tobytes()


def test_torch_batched_over_repetitions_agrees_with_one_at_a_time() -> None:
    # What a GPU does; a CPU only does it here.
    problems = [make_problem(16, 24, 2, seed=seed) for seed in range(3)]
    rates = learning_rates("cosine", 0.3, 25)
    batched = list(reference._fit_together(problems, rates, "cpu", torch.float64))
    for one, result in zip(reference.fit(problems, rates, dtype=torch.float64), batched, strict=True):
        np.testing.assert_allclose(result.codebooks, one.codebooks, atol=1e-6)
        np.testing.assert_array_equal(result.code_counts, one.code_counts)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_the_kernel() -> None:
    problems = [make_problem(16, 64, 2, seed=seed) for seed in range(3)]
    rates = learning_rates("cosine", 0.3, 25)
    on_gpu = fit_codebooks(problems, learning_rates=rates, implementation="torch", device="cuda")
    compiled = fit_codebooks(problems, learning_rates=rates, implementation="compiled")
    for a, b in zip(on_gpu, compiled, strict=True):
        np.testing.assert_allclose(a.codebooks, b.codebooks, atol=1e-4)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_training_stops_where_the_loss_is_no_longer_finite(implementation: Implementation) -> None:
    problem = make_problem(steps=100)
    rates = np.full(100, 0.1)
    rates[10:] = 1e38
    (result,) = fit_codebooks([problem], learning_rates=rates, implementation=implementation)
    logged = curve_steps(100)
    assert result.diverged_at_step == logged[logged > 10][0] == result.curve_steps[-1]
    assert np.isfinite(result.curve_test_mse[:-1]).all()
    assert not np.isfinite(result.test_mse)
    assert np.sum(result.code_counts) == 1000


def test_torch_keeps_repetitions_that_did_not_diverge() -> None:
    good, bad = make_problem(steps=30), make_problem(steps=30, seed=1)
    bad = replace(bad, test=np.where(np.arange(8) == 3, np.inf, bad.test).astype(np.float32))
    rates = learning_rates("constant", 0.1, 30)
    results = list(reference._fit_together([good, bad], rates, "cpu", torch.float32))
    assert [result.diverged_at_step for result in results] == [None, 0]
    assert results[0].curve_steps[-1] == 30
    assert list(results[1].curve_steps) == [0]


@pytest.mark.parametrize("steps", [1, 2, 7, 25, 1000, 4000])
def test_curves_go_from_the_untrained_codes_to_the_last_step(steps: int) -> None:
    logged = curve_steps(steps)
    assert logged[0] == 0
    assert logged[-1] == steps
    assert (np.diff(logged) > 0).all()
    assert len(logged) <= 22
    if steps >= 1000:
        assert len(logged) >= 18


def test_cosine_falls_from_the_rate_to_zero_and_constant_stays() -> None:
    rates = learning_rates("cosine", 0.3, 1000)
    assert rates[0] == 0.3
    assert 0 < rates[-1] < 1e-5
    assert (np.diff(rates) < 0).all()
    np.testing.assert_allclose(rates[500], 0.15)
    assert (learning_rates("constant", 0.02, 5) == 0.02).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": np.zeros((10, 8))}, "float32"),
        ({"test": np.zeros((10, 7), np.float32)}, "slices"),
        ({"test": np.zeros((0, 8), np.float32)}, "empty"),
        ({"batches": np.full((25, 4), 1000)}, "rows of train"),
        ({"batches": np.full((25, 4), -1)}, "rows of train"),
        ({"batches": np.zeros((24, 4), np.int64)}, "24 steps"),
        ({"codebooks": np.zeros((2, 8), np.float32)}, "three"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_with_25_rates(replace(make_problem(), **change))


def run_with_25_rates(*problems: FitProblem) -> None:
    list(fit_codebooks(problems, learning_rates=np.full(25, 0.1), implementation="compiled"))


def test_problems_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        run_with_25_rates(make_problem(), make_problem(codes=17))


def test_the_kernel_runs_on_cpus_only() -> None:
    with pytest.raises(ValueError, match="cuda"):
        fit_codebooks([], learning_rates=[0.1], implementation="compiled", device="cuda")


@pytest.mark.long
@pytest.mark.parametrize(("implementation", "unwanted"), [("compiled", "torch"), ("torch", "numba")])
def test_an_implementation_does_not_import_the_other_one(implementation: str, unwanted: str) -> None:
    code = f"""
import sys
import numpy as np
from dvq_ray.fitting.codebooks import fit_codebooks
from dvq_ray.fitting.problem import FitProblem
ones = np.ones((4, 2), np.float32)
problem = FitProblem(train=ones, test=ones, codebooks=ones[None], batches=np.zeros((1, 2), np.int32))
list(fit_codebooks([problem], learning_rates=[0.1], implementation="{implementation}"))
assert "{unwanted}" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
