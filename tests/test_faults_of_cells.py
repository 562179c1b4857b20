"""Whatever a computation raises, yields or does to its process: its cell is a row that says so, others go on."""

from __future__ import annotations

import errno
import io
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dvq_ray.execution.pack import run_pack
from dvq_ray.experiment.experiment import Outcome, Underway
from dvq_ray.experiment.surroundings import Surroundings
from dvq_ray.process.interruption import Interrupted, Interruption
from dvq_ray.store import Store
from tests.test_pack import CPU, RUN, measured, pack_of

BAD = 1
"""The repetition that goes wrong."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def rows_of(compute: Any, store: Store, seeds: int = 3) -> pd.DataFrame:
    """Rows by seed. Nothing escapes, and all seeds but the bad one are as they would be by themselves."""
    with Interruption() as interruption:  # as while a sweep runs: a KeyboardInterrupt is then not Ctrl-C
        interruption.listen()
        list(run_pack(pack_of(compute, seeds), store, RUN, CPU))
    rows = store.load().set_index("seed")
    assert sorted(rows.index) == list(range(seeds))
    assert rows["status"].drop(BAD).eq("ok").all()
    assert rows["test_mse"].drop(BAD).tolist() == [float(seed) for seed in range(seeds) if seed != BAD]
    return rows


def error_of(compute: Any, store: Store, status: str = "error") -> str:
    row = rows_of(compute, store).loc[BAD]
    assert row["status"] == status
    assert row["test_mse"] != row["test_mse"]
    assert row["run_host"]
    error = str(row["error"])
    assert "\x1b" not in error
    assert "\0" not in error
    assert len(error) <= 10_000
    return error


def good(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Outcome | Underway]:
    for seed in seeds:
        yield Outcome(metrics=measured(float(seed)), curve=[{"step": 0, "test_mse": 9.0}])


def with_bad(bad: Callable[[], Iterator[Any]]) -> Any:
    """Computes good repetitions, and `bad` in place of the bad one."""

    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Any]:
        for seed in seeds:
            yield from bad() if seed == BAD else good(settings, [seed], surroundings)

    return compute


def raising(error: BaseException) -> Any:
    def bad() -> Iterator[Any]:
        raise error
        yield

    return with_bad(bad)


class WithoutTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class EndsProcessError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class UnpicklableError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.lock = threading.Lock()
        self.second = second


def from_lost_module() -> Exception:
    kind = type("Lost", (Exception,), {"__module__": "module_that_is_gone"})
    error: Exception = kind("it was there")
    return error


def chained() -> Exception:
    try:
        try:
            raise KeyError("the real cause")
        except KeyError as error:
            raise ValueError("what was reported") from error
    except ValueError as error:
        return error


def with_notes() -> Exception:
    error = ValueError("no good")
    error.add_note("a note")
    return error


def syntax_error() -> Exception:
    try:
        compile("1 +", "formula", "eval")
    except SyntaxError as error:
        return error
    raise AssertionError


def deep() -> Exception:
    def call(depth: int) -> int:
        return call(depth + 1)

    try:
        call(0)
    except RecursionError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "first_line"),
    [
        (ValueError("no good"), "ValueError: no good"),
        (WithoutTextError(), "tests.test_faults_of_cells.WithoutTextError: <exception str() failed>"),
        (EndsProcessError(), "tests.test_faults_of_cells.EndsProcessError: <exception str() failed>"),
        (UnpicklableError("a", "b"), "tests.test_faults_of_cells.UnpicklableError: a"),
        (from_lost_module(), "module_that_is_gone.Lost: it was there"),
        (ValueError("\x1b[31mred\x1b[0m and \x1b]0;title\x07gone\0"), "ValueError: red and gone"),
        (ValueError("file \udcff.png"), "ValueError: file \\udcff.png"),
        (ValueError("x" * 10_000_000), "ValueError: xxx"),
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (SystemExit(), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit("early"), "GeneratorExit: early"),
        (StopIteration(), "RuntimeError: generator raised StopIteration"),
        (BaseException("base"), "BaseException: base"),
        (ExceptionGroup("several", [ValueError("one"), KeyError("two")]), "ExceptionGroup: several (2 sub-exceptions)"),
        (chained(), "ValueError: what was reported"),
        (with_notes(), "ValueError: no good"),
        (syntax_error(), "SyntaxError: invalid syntax"),
        (deep(), "RecursionError: maximum recursion depth exceeded"),
        (UserWarning("made an error"), "UserWarning: made an error"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_first_line_is_the_exception_as_python_prints_it(
    error: BaseException, first_line: str, store: Store
) -> None:
    text = error_of(raising(error), store)
    assert text.splitlines()[0].startswith(first_line)
    assert "Traceback" in text
    assert "test_faults_of_cells.py" in text


def test_an_error_tells_of_what_it_follows_from(store: Store) -> None:
    assert "KeyError: 'the real cause'" in error_of(raising(chained()), store)


def test_each_exception_of_a_group_is_told(store: Store) -> None:
    text = error_of(raising(ExceptionGroup("several", [ValueError("one"), KeyError("two")])), store)
    assert "ValueError: one" in text
    assert "KeyError: 'two'" in text


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ExceptionGroup("several", [ValueError("one"), MemoryError()]),
    ],
)
def test_every_way_to_run_out_of_memory_has_its_status(error: Exception, store: Store) -> None:
    error_of(raising(error), store, status="out_of_memory")


def test_an_error_that_follows_from_a_lack_of_memory_has_its_status(store: Store) -> None:
    def bad() -> Iterator[Any]:
        try:
            np.ones(2**50)
        except MemoryError as error:
            raise RuntimeError("no batch") from error
        yield

    error_of(with_bad(bad), store, status="out_of_memory")


def outcome(**metrics: Any) -> Callable[[], Iterator[Any]]:
    def bad() -> Iterator[Any]:
        yield Outcome(metrics={**measured(1.0), **metrics})

    return bad


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (outcome(codebook_parameters=2**63), "does not fit its column"),
        (outcome(codebook_parameters=-(2**64)), "does not fit its column"),
        (outcome(codes_used=[1, 2**70]), "does not fit its column"),
        (outcome(codebook_parameters=float("nan")), "codebook_parameters is nan, which is not an integer"),
        (outcome(codebook_parameters=1.5), "codebook_parameters is 1.5, which is not an integer"),
        (outcome(codebook_parameters="many"), "codebook_parameters is 'many', which is not an integer"),
        (outcome(test_mse="low"), "the metric test_mse is 'low', which is not a number"),
        (outcome(test_mse=object()), "which is not a number"),
        (outcome(codes_used=[1, None]), "codes_used is [1, None], which is not list[int]"),
        (outcome(perplexity="high"), "perplexity is 'high', which is not list[float]"),
        (outcome(perplexity=1.0), "perplexity is 1.0, which is not list[float]"),
        (outcome(test_msee=1.0), "'test_msee' is not a metric of StaticPriorMetrics; did you mean test_mse?"),
        (outcome(test_mse=None), "StaticPriorMetrics has no value for the metric test_mse"),
        (lambda: iter([Outcome()]), "StaticPriorMetrics has no value for the metric test_mse, train_mse"),
        (lambda: iter([Outcome(metrics=measured(1.0), curve=[{"stepp": 1, "test_mse": 1.0}])]), "did you mean step?"),
        (lambda: iter([Outcome(metrics=measured(1.0), curve=[{"step": 1}])]), "column of the curve test_mse"),
        (lambda: iter([Outcome(metrics=measured(1.0), curve=[{"step": 2**64, "test_mse": 1.0}])]), "does not fit"),
        (lambda: iter([Outcome(metrics=measured(1.0), curve=[None])]), "None is not a mapping"),  # type: ignore[list-item]
        (lambda: iter([{"test_mse": 1.0}]), "the computation yields dict; allowed: Outcome, Underway"),
        (lambda: iter([None]), "the computation yields NoneType"),
        (lambda: iter([]), "the computation ended before its last repetition; 1 of 1 are missing"),
        (lambda: iter([Outcome(metrics=measured(1.0))] * 2), "yields Outcome after its last repetition"),
        (lambda: iter([Outcome(metrics=measured(1.0)), Underway(share=1)]), "yields Underway after its last"),
        (lambda: iter([Underway(share=float("nan"))]), "the share of the work that is done is nan"),
        (lambda: iter([Underway(share="half")]), "the share of the work that is done is 'half'"),  # type: ignore[arg-type]
        (lambda: iter([Underway(share=0.5, logged=[{"step": 1}])]), "no value for the column of the curve test_mse"),
    ],
)
def test_what_is_not_an_outcome_is_a_failed_row(bad: Callable[[], Iterator[Any]], said: str, store: Store) -> None:
    assert said in error_of(with_bad(bad), store)


def test_an_error_after_the_outcome_fails_the_cell(store: Store) -> None:
    def bad() -> Iterator[Any]:
        yield Outcome(metrics=measured(1.0))
        raise ValueError("while it cleaned up")

    assert error_of(with_bad(bad), store).startswith("ValueError: while it cleaned up")


@pytest.mark.parametrize("compute", [lambda *_: None, lambda *_: 3, lambda: iter([])])
def test_a_computation_that_is_none_is_a_failed_row(compute: Any, store: Store) -> None:
    list(run_pack(pack_of(compute, seeds=1), store, RUN, CPU))
    row = store.load().iloc[0]
    assert row["status"] == "error"
    assert row["error"].startswith("TypeError: ")


def doing(action: Callable[[], object]) -> Callable[[], Iterator[Any]]:
    def bad() -> Iterator[Any]:
        action()
        yield from good(None, [BAD], CPU)

    return bad


def in_a_thread(action: Callable[[], object]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def leave(folder: Path) -> None:
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()


@pytest.mark.parametrize(
    "action",
    [
        lambda: sys.stdout.close(),
        lambda: sys.stderr.close(),
        lambda: sys.stdout.buffer.close(),
        lambda: setattr(sys, "stdout", None),
        lambda: setattr(sys, "stderr", io.BytesIO()),
        lambda: sys.stdout.detach(),  # type: ignore[union-attr]
        lambda: print(b"\xff\xfe"),
        lambda: warnings.simplefilter("error"),
        lambda: np.seterr(all="raise"),
        lambda: os.chdir("/"),
        lambda: in_a_thread(lambda: os.chdir("/")),
    ],
)
def test_what_a_cell_does_to_its_process_does_not_reach_the_next(action: Callable[[], object], store: Store) -> None:
    folder, streams = os.getcwd(), (sys.stdout, sys.stderr)

    def compute(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Any]:
        warnings.warn("a warning", stacklevel=1)
        np.float32(1) / np.float32(0)
        yield from with_bad(doing(action))(settings, seeds, surroundings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = rows_of(compute, store)
    assert rows["status"].eq("ok").all()
    assert os.getcwd() == folder
    assert (sys.stdout, sys.stderr) == streams
    print("standard output is open", flush=True)


def test_a_working_folder_that_is_gone_is_left_again(tmp_path: Path, store: Store) -> None:
    folder = os.getcwd()
    rows_of(with_bad(doing(lambda: leave(tmp_path / "gone"))), store)
    assert os.getcwd() == folder


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_computation_that_refuses_to_be_stopped_does_not_hinder_the_end(store: Store) -> None:
    def stubborn(settings: Any, seeds: Sequence[int], surroundings: Surroundings) -> Iterator[Any]:
        while True:
            with suppress(GeneratorExit):
                yield Underway(share=0.5)

    running = run_pack(pack_of(stubborn, seeds=1), store, RUN, CPU)
    next(running)
    running.close()
    assert store.load().empty


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_a_signal_is_no_failure_of_the_cell(error: BaseException, store: Store) -> None:
    # Outside of a sweep, KeyboardInterrupt is what Python raises at Ctrl-C.
    with pytest.raises(KeyboardInterrupt):
        list(run_pack(pack_of(raising(error)), store, RUN, CPU))
    assert sorted(store.load()["seed"]) == [0]


def test_errors_of_a_seed_are_the_same_in_a_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvq_ray.execution.pack.machine_columns", lambda device, _: {"run_host": "here"})
    compute = with_bad(outcome(test_msee=1.0))
    list(run_pack(pack_of(compute, seeds=3), store, RUN, Surroundings(device="cuda")))
    rows = store.load().set_index("seed")
    assert rows["status"].to_dict() == {0: "ok", 1: "error", 2: "ok"}


def test_nothing_of_an_error_is_unpickled(store: Store) -> None:
    class DangerousError(Exception):
        def __reduce__(self) -> Any:
            raise pickle.PicklingError("not this one")

    assert "DangerousError" in error_of(raising(DangerousError()), store)
