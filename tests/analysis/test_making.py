"""Items made in several processes at once: in order, each once, and no error of one of them is lost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analysis import build as making
from analysis.__main__ import main
from analysis.build import Attempt, Refused, make_all
from analysis.figures.static_prior.items import ITEMS
from analysis.items import Item
from dvq_ray.store import StoreError
from tests.analysis.made_up import made_up_rows, rows, write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one process makes all items")


def attempts(monkeypatch: pytest.MonkeyPatch, make: Callable[[str], str], **options: Any) -> list[Attempt]:
    """What becomes of the items of the static prior where making one is to call this, with three cores."""

    def made(name: str, item: Item, *_: Any, **__: Any) -> Attempt:
        return Refused(name=name, item=item, reason=make(name), details=())

    monkeypatch.setattr(making, "make", made)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    cells = made_up_rows(rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))
    return list(make_all(ITEMS, cells, allow_missing=False, **options))


def test_all_cores_make_items_and_they_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str) -> str:
        time.sleep(0.1)
        return str(os.getpid())

    found = attempts(monkeypatch, make)
    assert [attempt.name for attempt in found] == list(ITEMS)
    assert all(attempt.item is ITEMS[attempt.name] for attempt in found)
    processes = [attempt.reason for attempt in found if isinstance(attempt, Refused)]
    assert len(set(processes)) == 3
    assert str(os.getpid()) in processes


def test_while_this_process_is_busy_others_make_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    found = attempts(monkeypatch, lambda name: str(os.getpid()), meanwhile=lambda: time.sleep(1.0))
    assert str(os.getpid()) not in {attempt.reason for attempt in found if isinstance(attempt, Refused)}


def test_an_error_is_raised_at_its_items_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str) -> str:
        if name == "figure4":
            raise StoreError("cannot be read")
        return name

    with pytest.raises(StoreError, match="cannot be read"):
        attempts(monkeypatch, make)


def test_a_process_that_dies_ends_the_analysis_and_does_not_hang_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.getpid()

    def make(name: str) -> str:
        if os.getpid() != here:
            os._exit(1)
        time.sleep(0.05)
        return name

    with pytest.raises(BrokenProcessPool):
        attempts(monkeypatch, make)


def test_a_process_that_dies_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = os.getpid()

    def made(*_: Any, **__: Any) -> Attempt:
        if os.getpid() != here:
            os._exit(1)
        raise StoreError("not of interest")

    monkeypatch.setattr(making, "make", made)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    store = write(tmp_path / "store", rows(2, quantizer="vq", dimension=2, codebook_size=4, factors=16))
    result = CliRunner().invoke(main, [store])
    assert result.exit_code == 2
    assert result.stderr == "a process that was making figures was killed; most likely memory ran out\n"
