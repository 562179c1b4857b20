"""Signals to a process that runs a sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dvq_ray.cli.sweep import main
from dvq_ray.process import interruption as module
from dvq_ray.process.interruption import Interrupted, Interruption
from tests.sweep_files import write, write_pictures

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


def test_a_sweep_runs_in_a_thread(tmp_path: Path) -> None:
    ends: list[Any] = []

    def run() -> None:
        try:
            main([str(write(tmp_path)), "--results", str(tmp_path), "--in-process"], standalone_mode=False)
        except SystemExit as end:
            ends.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ends == [0]
    assert len(pd.read_parquet(tmp_path / "tiny" / "cells")) == 8


TRAINING = """\
name: tiny
trainable: learned_prior
data: {few: {format: folder, train: FOLDER/train, test: FOLDER/test}}
fixed: {dataset: few, image_size: 8, downsamplings: 1, dimension: 4, codebook_size: 4, stem_channels: 4,
        body_channels: 4, residual_channels: 4, logistic_mixtures: 1, batch_size: 4, steps: 1000000}
grids:
  plain: {quantizer: vq}
checkpoint_seconds: 0.2
"""
"""A cell of half an hour or so, which keeps a checkpoint as soon as it has begun."""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_training_in_one_process_keeps_what_it_has(number: signal.Signals, tmp_path: Path) -> None:
    write_pictures(tmp_path)
    file = write(tmp_path, TRAINING.replace("FOLDER", str(tmp_path)))
    command = [sys.executable, "-m", "dvq_ray.sweep", str(file), "--results", str(tmp_path)]
    process = subprocess.Popen([*command, "--in-process"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    checkpoints = tmp_path / "tiny" / "checkpoints"
    while not checkpoints.exists() or not list(checkpoints.glob("[0-9a-f]*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "the same command resumes from here" in output
    assert len(list(checkpoints.glob("[0-9a-f]*"))) == 1


@pytest.mark.long
def test_nohup_keeps_a_sweep_running(tmp_path: Path) -> None:
    def ignore_hangups() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    command = [sys.executable, "-m", "dvq_ray.sweep", str(write(tmp_path)), "--results", str(tmp_path), "--in-process"]
    process = subprocess.Popen(command, preexec_fn=ignore_hangups)
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
    assert process.returncode == 0
    assert len(pd.read_parquet(tmp_path / "tiny" / "cells")) == 8
