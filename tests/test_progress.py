from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from dvq_ray.execution.progress import Progress
from dvq_ray.sweep.pace import NOMINAL, Estimate
from dvq_ray.text import span


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("dvq_ray.execution.progress.time.monotonic", lambda: now[0])
    return now


def plain() -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, force_terminal=False, width=200), output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (45, "45 s"), (119, "2 min"), (3000, "50 min"), (3 * 3600, "3.0 h"), (200_000, "2.3 days")],
)
def test_a_duration_is_given_in_the_unit_that_a_person_would_use(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_the_time_left_follows_from_the_work_done_and_not_from_the_number_of_cells(clock: list[float]) -> None:
    console, _ = plain()
    with Progress(10, 100.0, console) as progress:
        assert "unknown left" in progress.line()
        clock[0] += 20
        progress.advance(done=1, failed=1, nominal_seconds=40.0)
        progress.tick(running=3)
        assert progress.line() == "2 of 10 cells, 1 failed, 20 s elapsed, 30 s left, 3 running, 6.0 cells/min"


def test_without_a_terminal_a_line_is_printed_now_and_then(clock: list[float]) -> None:
    console, output = plain()
    with Progress(10, 100.0, console) as progress:
        for _ in range(25):
            clock[0] += 1
            progress.tick(running=1)
    assert len(output.getvalue().splitlines()) == 2


def test_cells_that_are_reported_twice_do_not_exceed_the_total(clock: list[float]) -> None:
    console, _ = plain()
    progress = Progress(3, 3.0, console)
    progress.advance(done=5, failed=0, nominal_seconds=5.0)
    clock[0] += 1
    assert progress.line().startswith("3 of 3 cells")
    assert ", 0 s left," in progress.line()


def test_until_enough_is_done_the_estimate_stands_for_the_time_left(clock: list[float]) -> None:
    console, output = plain()
    with Progress(10, 100.0, console) as progress:
        progress.expect(Estimate(seconds=1200.0, basis=NOMINAL, measured=False), at_once=2)
        assert output.getvalue() == f"expected time: about 10 min with 2 at a time, {NOMINAL}\n"
        clock[0] += 60
        assert "60 s elapsed, about 9 min left at nominal speed, 0 running" in progress.line()
        progress.advance(done=1, failed=0, nominal_seconds=10.0)
        assert "60 s elapsed, 9 min left, 0 running" in progress.line()


def test_an_estimate_that_was_exceeded_says_no_more(clock: list[float]) -> None:
    console, _ = plain()
    with Progress(10, 100.0, console) as progress:
        progress.expect(Estimate(seconds=60.0, basis="", measured=True), at_once=1)
        assert "about 60 s left, 0 running" in progress.line()
        clock[0] += 61
        assert "unknown left" in progress.line()


def test_the_last_and_the_best_value_are_shown() -> None:
    console, _ = plain()
    progress = Progress(10, 100.0, console, metric="test_mse")
    assert "test_mse" not in progress.line()
    progress.measured(2.5, "a" * 16)
    assert "test_mse 2.5, best 2.5, " in progress.line()
    progress.measured(3.0, "b" * 16)
    assert "test_mse 3, best 2.5, " in progress.line()
    assert progress.line().endswith(f", best cell {'a' * 16}")
    progress.measured(1.23456, "c" * 16)
    assert "test_mse 1.235, best 1.235, " in progress.line()
    assert progress.line().endswith(f", best cell {'c' * 16}")


@pytest.mark.parametrize("width", [1, 20, 40, 59, 60, 80, 100, 200])
def test_the_live_line_never_wraps_and_keeps_what_matters_most(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, soft_wrap=True, color_system=None)
    progress = Progress(1000, 1.0, console, metric="reconstruction_bits_per_dim")
    progress.measured(1.0, "a" * 16)
    progress.measured(2.0, "b" * 16)
    progress.note += " [bold]\n\x1b[31m" + "日本" * 9
    console.print(progress._render())
    (line,) = output.getvalue().splitlines()
    assert cell_len(line.rstrip()) <= width
    if width >= 40:
        assert "0 of 1000 cells, 0 failed" in line
    if width >= 60:
        assert "elapsed" in line
    if width == 200:
        assert "reconstruction_bits_per_dim 2, best 1, 0 running,  [bold]" in line


@pytest.mark.parametrize(
    ("at_once", "text"),
    [(1, "100 s with 1"), (128, "1 s with 128"), (1.26, "79 s with 1.3"), (0.04, "42 min with 0.04")],
)
def test_an_estimate_is_for_as_many_cells_as_run_at_a_time(at_once: float, text: str) -> None:
    estimate = Estimate(seconds=100.0, basis=NOMINAL, measured=False)
    assert estimate.in_words(at_once) == f"about {text} at a time, {NOMINAL}".replace("100 s", span(100.0))
