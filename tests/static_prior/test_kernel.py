from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dvq_ray.fitting import reference
from dvq_ray.fitting.compiled import Codebooks, evaluate
from dvq_ray.fitting.problem import CodebookFitResult, FitProblem, learning_rates
from tests.static_prior.digest import digest_of_fits
from tests.static_prior.test_fit import make_problem, mse_by_hand, run

GRID = [
    (dimension, codes, slices)
    for dimension in (2, 4, 8, 16, 32, 64, 128, 256)
    for codes in (16, 64, 256, 1024)
    for slices in (1, 2, 4, 8)
    if dimension % slices == 0
]
ODD = [(1, 1, 1), (1, 16, 1), (2, 3, 2), (6, 17, 2), (10, 100, 1), (21, 33, 3), (34, 5, 2), (7, 48, 7)]


def run_in_float64(problem: FitProblem) -> CodebookFitResult:
    rates = learning_rates("cosine", 0.3, len(problem.batches))
    (result,) = reference.fit([problem], rates, dtype=torch.float64)
    return result


def assert_codes_agree(result: CodebookFitResult, expected: CodebookFitResult) -> None:
    """Up to rounding; where slices are single numbers, 2% of the codes may differ.

    Many codes on a line lie so close together that rounding decides which of two is nearer to a sample. In
    float32, torch differs from float64 in as many.
    """
    apart = np.abs(result.codebooks - expected.codebooks).max(axis=2) > 1e-4
    assert apart.mean() <= (0.02 if result.codebooks.shape[2] == 1 else 0)


@pytest.mark.long
@pytest.mark.parametrize(("dimension", "codes", "slices"), GRID)
def test_a_few_steps_agree_with_float64(dimension: int, codes: int, slices: int) -> None:
    problem = make_problem(dimension, codes, slices, steps=25)
    result, expected = run(problem, "compiled"), run_in_float64(problem)
    assert_codes_agree(result, expected)
    tolerance = 1e-3 if dimension == slices else 1e-6
    np.testing.assert_allclose(result.curve_test_mse, expected.curve_test_mse, rtol=tolerance)
    np.testing.assert_allclose(result.train_mse, expected.train_mse, rtol=tolerance)


@pytest.mark.parametrize(("dimension", "codes", "slices"), ODD)
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (5, 25), (33, 25), (130, 3)])
def test_odd_sizes_agree_with_float64(dimension: int, codes: int, slices: int, batch: int, steps: int) -> None:
    problem = make_problem(dimension, codes, slices, steps=steps, batch=batch, train_samples=131, test_samples=1)
    result, expected = run(problem, "compiled"), run_in_float64(problem)
    assert_codes_agree(result, expected)
    np.testing.assert_allclose(result.curve_test_mse, expected.curve_test_mse, rtol=1e-4)


@pytest.mark.parametrize("init_bound", [0.05, 10.0, 17.3])
def test_other_starts_agree_with_float64(init_bound: float) -> None:
    problem = make_problem(128, 256, 1, init_bound=init_bound)
    result, expected = run(problem, "compiled"), run_in_float64(problem)
    assert_codes_agree(result, expected)
    np.testing.assert_array_equal(result.code_counts, expected.code_counts)


@pytest.mark.long
@pytest.mark.parametrize(
    ("dimension", "codes", "slices"), [(2, 16, 1), (8, 64, 1), (16, 16, 4), (64, 64, 8), (64, 256, 1)]
)
def test_whole_fits_end_where_the_reference_ends(dimension: int, codes: int, slices: int) -> None:
    # Codes at equal distances within rounding may be exchanged, after which the two differ in detail.
    problem = make_problem(dimension, codes, slices, steps=600, train_samples=4000, test_samples=2000)
    compiled, expected = run(problem, "compiled"), run(problem, "torch")
    np.testing.assert_allclose(compiled.test_mse, expected.test_mse, rtol=0.01)
    np.testing.assert_allclose(compiled.train_mse, expected.train_mse, rtol=0.01)


@pytest.mark.parametrize(("dimension", "codes", "slices"), [(8, 16, 1), (20, 100, 2), (64, 16, 8), (48, 40, 1)])
def test_gradient_is_that_of_autograd(dimension: int, codes: int, slices: int) -> None:
    problem = make_problem(dimension, codes, slices, steps=1, batch=50)
    codebooks = Codebooks(problem.codebooks, 50)
    codebooks.train(problem, np.zeros(1), np.array([1]))
    parameters = torch.tensor(problem.codebooks[None], dtype=torch.float64, requires_grad=True)
    batch = torch.tensor(problem.train[problem.batches[0]], dtype=torch.float64)
    loss = reference.codebook_loss(reference._split(batch[None], slices), parameters).sum()
    (derivative,) = torch.autograd.grad(loss, parameters)
    # From zero, one step of Adam makes the moments 0.1 g and 0.001 g^2.
    gradient = derivative[0].numpy()
    np.testing.assert_allclose(codebooks.unpack(codebooks.m) / 0.1, gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(codebooks.unpack(codebooks.v) / 0.001, gradient**2, rtol=2e-4, atol=1e-6)
    np.testing.assert_array_equal(codebooks.unpack(codebooks.e), problem.codebooks)


@pytest.mark.parametrize("size", [5, 16, 32, 100])
def test_equal_distances_go_to_the_lowest_index(size: int) -> None:
    codes = np.random.default_rng(0).integers(-2, 2, size=(1, size, 2)).astype(np.float32)
    samples = np.random.default_rng(1).integers(-3, 3, size=(300, 2)).astype(np.float32)
    _, counts = evaluate(codes, samples)
    np.testing.assert_array_equal(counts, mse_by_hand(codes, samples)[1])


@pytest.mark.parametrize("codes", [1, 3, 16, 17, 100])
def test_codes_that_are_not_numbers_do_no_harm(codes: int) -> None:
    mse, counts = evaluate(np.full((2, codes, 3), np.nan, np.float32), np.ones((50, 6), np.float32))
    assert not np.isfinite(mse)
    assert (counts.sum(1) == 50).all()


def test_codes_that_never_win_stay_and_those_that_stop_winning_come_to_rest() -> None:
    problem = make_problem(4, 40, 1, steps=3000)
    codebooks = problem.codebooks.copy()
    codebooks[0, 20] = 1000
    codebooks[0, 39] = -1000
    # Code 7 wins the first mini-batch only: its moments then decay to where they would be denormal.
    train = np.concatenate([problem.train, np.full((1, 4), 100, np.float32)])
    codebooks[0, 7] = 99
    batches = problem.batches.copy()
    batches[0] = 1000
    problem = replace(problem, train=train, codebooks=codebooks, batches=batches)
    trainee = Codebooks(codebooks, 64)
    trainee.train(problem, learning_rates("constant", 0.01, 3000), np.array([3000]))
    trained = trainee.unpack(trainee.e)
    np.testing.assert_array_equal(trained[0, [20, 39]], codebooks[0, [20, 39]])
    assert (trainee.unpack(trainee.m)[0, 7] == 0).all()
    # The sum of Adam's steps after one gradient, in closed form but for the second moment's decay.
    expected, m, v = 99.0, 0.0, 0.0
    for step in range(3000):
        g = -0.5 if step == 0 else 0.0
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected -= 0.01 / (1 - 0.9 ** (step + 1)) * m / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
    np.testing.assert_allclose(trained[0, 7], expected, rtol=1e-5)


def test_inputs_may_be_read_only_and_are_left_alone() -> None:
    problem = make_problem()
    arrays = (problem.train, problem.test, problem.codebooks, problem.batches)
    before = [array.tobytes() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    run(problem, "compiled")
    assert [array.tobytes() for array in arrays] == before


def test_bytes_are_the_same_on_every_machine() -> None:
    assert digest_of_fits() == "6de736bbeb4dc39f4c6f9cb80fa28a228922cf5e79d655f6c6a3174a624b879c"


def output_of(code: str, environment: dict[str, str], cache: Path) -> str:
    """What a process prints that builds the kernel anew."""
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    return output.stdout.strip()


ON_X86 = pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="names an x86 processor")


@pytest.mark.long
@ON_X86
@pytest.mark.parametrize(("name", "features"), [("haswell", "+avx2,+fma,+avx"), ("generic", "")])
def test_bytes_are_the_same_with_narrower_registers(name: str, features: str, tmp_path: Path) -> None:
    code = "from tests.static_prior.digest import digest_of_fits; print(digest_of_fits())"
    build = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    assert output_of(code, build, tmp_path) == digest_of_fits()


EMIT_FOR_ARM = """
import re
import llvmlite.binding as llvm
from dvq_ray.fitting import kernel

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
target = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="generic", opt=3)
for function in (kernel.train, kernel.evaluate):
    (code,) = function.inspect_llvm().values()
    module = llvm.parse_assembly(re.sub("target (triple|datalayout) = .*", "", code))
    module.triple, module.data_layout = "aarch64-unknown-linux-gnu", str(target.target_data)
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    print(target.emit_assembly(module))
"""


@pytest.mark.long
@ON_X86
def test_kernel_compiles_for_64_bit_arm_with_fused_vectors(tmp_path: Path) -> None:
    # Numba's own optimiser would leave instructions of x86 in the code.
    assembly = output_of(EMIT_FOR_ARM, {"NUMBA_CPU_NAME": "generic", "NUMBA_OPT": "0"}, tmp_path)
    assert re.search(r"\bfmla\s+v\d+\.4s", assembly)
    assert re.search(r"\bfmla\s+v\d+\.2d", assembly)
    assert not re.search(r"\bbl\s+fma", assembly)
