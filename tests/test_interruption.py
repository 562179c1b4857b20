"""Signals to a process that runs a sweep, without a sweep."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from dvq_ray import interruption as module
from dvq_ray.interruption import Interrupted, Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    """Whatever a test does, the handlers are as before; and what an ignored signal would end is this process."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks(number: signal.Signals) -> None:
    with Interruption() as interruption:
        interruption.listen()
        assert not interruption.asked
        os.kill(os.getpid(), number)
        assert interruption.asked


@pytest.mark.parametrize("number", SIGNALS)
def test_before_there_is_anything_to_ask_a_signal_ends_it(number: signal.Signals) -> None:
    with pytest.raises(Interrupted), Interruption():
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it(number: signal.Signals, clock: Clock) -> None:
    with Interruption() as interruption:
        interruption.listen()
        os.kill(os.getpid(), signal.SIGINT)
        clock.now += 4
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)


def test_signals_that_come_together_are_one(clock: Clock) -> None:
    with Interruption() as interruption:
        interruption.listen()
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            clock.now += 0.5
        assert interruption.asked


def test_a_terminal_that_closes_may_say_so_many_times(clock: Clock) -> None:
    with Interruption() as interruption:
        interruption.listen()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            clock.now += 10
        assert interruption.asked


def test_a_signal_that_nohup_ignores_remains_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        interruption.listen()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not interruption.asked
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_handlers_that_others_set_meanwhile_are_taken_over_and_the_former_ones_come_back() -> None:
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
        interruption.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.asked
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.default_int_handler] * 3


def test_outside_of_the_main_thread_there_are_no_signals_and_no_error() -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with Interruption() as interruption:
                interruption.listen()
                assert not interruption.asked
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.default_int_handler] * 3
