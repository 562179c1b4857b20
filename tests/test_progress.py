from __future__ import annotations

import io

import pytest
from rich.console import Console

from dvq_ray.progress import Progress, span


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("dvq_ray.progress.time.monotonic", lambda: now[0])
    return now


def plain() -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, force_terminal=False, width=200), output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (45, "45 s"), (119, "2 min"), (3000, "50 min"), (3 * 3600, "3.0 h"), (200_000, "2.3 days")],
)
def test_a_duration_is_told_in_the_unit_that_a_person_would_use(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_the_time_left_follows_from_the_work_done_and_not_from_the_number_of_cells(clock: list[float]) -> None:
    console, _ = plain()
    with Progress(10, 100.0, console) as progress:
        assert "unknown left" in progress.line()
        clock[0] += 20
        progress.advance(done=1, failed=1, nominal_seconds=40.0)
        progress.tick(running=3)
        assert progress.line() == "2 of 10 cells, 1 failed, 3 running, 6.0 cells/min, 30 s left"


def test_without_a_terminal_a_line_is_printed_now_and_then(clock: list[float]) -> None:
    console, output = plain()
    with Progress(10, 100.0, console) as progress:
        for _ in range(25):
            clock[0] += 1
            progress.tick(running=1)
    assert len(output.getvalue().splitlines()) == 2


def test_cells_that_are_told_twice_do_not_exceed_the_total(clock: list[float]) -> None:
    console, _ = plain()
    progress = Progress(3, 3.0, console)
    progress.advance(done=5, failed=0, nominal_seconds=5.0)
    clock[0] += 1
    assert progress.line().startswith("3 of 3 cells")
    assert progress.line().endswith("0 s left")
