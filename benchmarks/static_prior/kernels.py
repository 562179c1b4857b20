"""Microseconds of a training step on one core: the compiled kernel, torch as written, and torch compiled."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.static_prior.eager import fit, loss
from benchmarks.static_prior.tables import say, show, spread
from dvq_ray.fitting.codebooks import fit_codebooks
from dvq_ray.fitting.problem import FitProblem, learning_rates

SHAPES = ((8, 16, 1), (16, 64, 1), (16, 16, 4), (64, 16, 8), (64, 256, 1), (256, 1024, 1))
"""D, K, L"""
BATCH, TRAIN_SAMPLES, LEARNING_RATE, REPETITIONS = 64, 16384, 0.3, 16
SECONDS = 0.3
"""About how long a timing takes."""


def measure(quick: bool) -> None:
    """Prints a row for each shape; the three ways take turns."""
    rounds, shapes = (3, SHAPES[1:3]) if quick else (7, SHAPES)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    product = _multiply_adds_per_second()
    say(
        f"one core, batch {BATCH}, float32, {TRAIN_SAMPLES} training vectors, {rounds} rounds: min / median / max of "
        f"the microseconds of a step of one repetition; the time of data and evaluations is taken out\n"
        f"limit: the distances' multiply-adds alone at {product / 1e9:.0f} G/s, the rate of torch's product of two "
        "2048 x 2048 matrices on this core; search, gradients and Adam would come on top"
    )
    rows = []
    for dimension, codes, slices in shapes:
        problem = problem_of(dimension, codes, slices)
        ways = (compiled_fit(problem), _eager(problem), _batched(problem))
        counts = [_steps_for(way) for way in ways]
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds):
            for way, steps, found in zip(ways, counts, times, strict=True):
                found.append(1e6 * _step(way, steps))
        times[2] = [value / REPETITIONS for value in times[2]]
        kernel, *others = (float(np.median(found)) for found in times)
        limit = 1e6 * BATCH * codes * dimension / product
        rows.append(
            (
                f"{dimension}, {codes}, {slices}",
                *(spread(found) for found in times),
                *(f"{other / kernel:.0f}" for other in others),
                f"{limit:.2f}",
                f"{100 * limit / kernel:.0f} %",
            )
        )
    headings = ("D, K, L", "kernel", "torch eager", f"torch.compile, {REPETITIONS} at once")
    show((*headings, "eager/kernel", "compile/kernel", "limit", "reached"), rows)


def _multiply_adds_per_second() -> float:
    size = 2048
    a, b = torch.rand(size, size), torch.rand(size, size)
    return size**3 / min(_seconds(lambda: a @ b) for _ in range(5))


def _seconds(run: Callable[[], Any]) -> float:
    """Of this process: what other processes take does not count."""
    started = time.process_time()
    run()
    return time.process_time() - started


def seconds_of_a_step(way: Callable[[int], float]) -> float:
    """The median of three; the time of data and evaluations is taken out."""
    steps = _steps_for(way)
    return statistics.median(_step(way, steps) for _ in range(3))


def _step(way: Callable[[int], float], steps: int) -> float:
    return (way(5 * steps) - way(steps)) / (4 * steps)


def _steps_for(way: Callable[[int], float]) -> int:
    way(10)  # compiles what there is to compile
    steps = 10
    while (taken := way(5 * steps)) < SECONDS / 10 and steps < 100_000:
        steps *= 4
    return max(10, int(steps * SECONDS / taken))


def problem_of(dimension: int, codes: int, slices: int) -> FitProblem:
    rng = np.random.default_rng(0)
    return FitProblem(
        train=rng.normal(scale=10.0, size=(TRAIN_SAMPLES, dimension)).astype(np.float32),
        test=rng.normal(size=(BATCH, dimension)).astype(np.float32),
        codebooks=rng.uniform(-1, 1, size=(slices, codes, dimension // slices)).astype(np.float32),
        batches=rng.integers(TRAIN_SAMPLES, size=(100, BATCH), dtype=np.int32),
    )


def compiled_fit(problem: FitProblem) -> Callable[[int], float]:
    def run(steps: int) -> float:
        batches = np.random.default_rng(0).integers(TRAIN_SAMPLES, size=(steps, BATCH), dtype=np.int32)
        whole = FitProblem(train=problem.train, test=problem.test, codebooks=problem.codebooks, batches=batches)
        rates = learning_rates("cosine", LEARNING_RATE, steps)
        return _seconds(lambda: list(fit_codebooks([whole], learning_rates=rates, implementation="compiled")))

    return run


def _eager(problem: FitProblem) -> Callable[[int], float]:
    train, test = torch.from_numpy(problem.train), torch.from_numpy(problem.test)

    def run(steps: int) -> float:
        codebooks = torch.tensor(problem.codebooks)
        return _seconds(
            lambda: fit(
                train,
                test,
                codebooks,
                steps=steps,
                batch=BATCH,
                learning_rate=LEARNING_RATE,
                evaluations=1,
                report=lambda step, mse: None,
            )
        )

    return run


def _batched(problem: FitProblem) -> Callable[[int], float]:
    """Repetitions side by side: one compiled loss over them all, and torch's fused Adam."""
    torch._dynamo.reset()
    train = torch.from_numpy(problem.train).repeat(REPETITIONS, 1, 1)
    repetition = torch.arange(REPETITIONS).unsqueeze(1)
    total = torch.compile(lambda samples, codebooks: torch.vmap(loss)(samples, codebooks).sum())

    def run(steps: int) -> float:
        codebooks = torch.tensor(problem.codebooks).repeat(REPETITIONS, 1, 1, 1).requires_grad_()
        optimizer = torch.optim.Adam([codebooks], lr=LEARNING_RATE, fused=True)
        rates = learning_rates("cosine", LEARNING_RATE, steps)

        def train_all() -> None:
            for rate in rates:
                optimizer.param_groups[0]["lr"] = float(rate)
                optimizer.zero_grad()
                rows = torch.randint(TRAIN_SAMPLES, (REPETITIONS, BATCH))
                total(train[repetition, rows], codebooks).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

        return _seconds(train_all)

    return run
