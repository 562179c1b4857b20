"""Whether a sweep runs, as its store shows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dvq_ray.cli.status import main as status
from dvq_ray.cli.sweep import main as sweep
from dvq_ray.store import Store, StoreError, heartbeat
from dvq_ray.store.heartbeat import EVERY_SECONDS, LONGEST_FILE, MISSED, Driver, Heartbeat, drivers
from dvq_ray.store.provenance import Run
from tests.object_storage import serving
from tests.sweep_files import SEARCH, TINY, write

STALE = timedelta(seconds=MISSED * EVERY_SECONDS + 60)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "tiny")
    store.write_sweep(TINY)
    return store


def run(run_id: str = "a" * 32) -> Run:
    return Run(run_id=run_id, sweep="tiny", commit="abc")


def the_driver(store: Store) -> Driver:
    (found,) = drivers(store, now())
    return found


def text_of(store: Store) -> str:
    return " ".join(CliRunner().invoke(status, [store.location]).output.split())


def leave(store: Store, name: str = "b.json", written: timedelta = timedelta(0), **changes: Any) -> None:
    """A file of a driver on another machine, of so long ago."""
    sign = {
        "host": "afar", "pid": 77, "process": "boot pid:[1] 5", "every_seconds": 30.0, "ended": None,
        "started_at": str(now() - timedelta(hours=3)), "at": str(now()), **changes,
    }  # fmt: skip
    store.write_driver(name, json.dumps(sign).encode())
    moment = (now() - written).timestamp()
    os.utime(Path(store.location, "drivers", name), (moment, moment))


def test_a_driver_is_alive_while_it_runs_and_then_says_how_it_ended(store: Store) -> None:
    with Heartbeat(store, run(), lambda: ""):
        wait_for(lambda: bool(drivers(store, now())))
        driver = the_driver(store)
        assert (driver.runs, driver.is_certain, driver.ended) == (True, True, "")
        assert driver.pid == os.getpid()
        assert f"driver runs on {driver.host} (process {os.getpid()}), since " in text_of(store)
        assert text_of(store).endswith("next wait; it is running")
    driver = the_driver(store)
    assert (driver.runs, driver.is_certain, driver.ended) == (False, True, "done")
    assert "next python -m dvq_ray.sweep" in text_of(store)


@pytest.mark.parametrize(
    ("cut_short", "error", "ended"),
    [
        ("interrupted", None, "interrupted"),
        ("the time budget of 2.0 h is spent", None, "the time budget of 2.0 h is spent"),
        ("", KeyboardInterrupt(), "interrupted"),
        ("", StoreError("the disk is full\nsecond line"), "StoreError: the disk is full"),
        ("", ValueError("\x1b[31m\udcff" + "x" * 9999), "ValueError: \\udcff" + "x" * 482),
    ],
)
def test_what_ended_a_driver_early_is_reported(
    store: Store, cut_short: str, error: BaseException | None, ended: str
) -> None:
    def enter() -> None:
        with Heartbeat(store, run(), lambda: cut_short):
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            enter()
    else:
        enter()
    assert the_driver(store).ended == ended
    assert f" s ago on {the_driver(store).host}: {ended[:40]}" in text_of(store)


def test_a_beat_comes_every_half_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_SECONDS", 0.01)
    with Heartbeat(store, run(), lambda: ""):
        wait_for(lambda: bool(drivers(store, now())))
        first = the_driver(store)
        wait_for(lambda: the_driver(store).last_seen > first.last_seen)
        assert the_driver(store).started_at == first.started_at


def test_a_store_that_cannot_be_written_does_not_disturb_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StoreError("full")

    monkeypatch.setattr(Store, "write_driver", fails)
    with Heartbeat(store, run(), lambda: ""):
        pass
    assert drivers(store, now()) == []


def test_a_storage_that_does_not_answer_holds_nothing_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(Store, "write_driver", lambda *_: answer.wait())
    monkeypatch.setattr(heartbeat, "LAST_BEAT_SECONDS", 0.01)
    with Heartbeat(store, run(), lambda: ""):
        pass
    answer.set()


@pytest.mark.parametrize(
    ("at", "written", "runs"),
    [
        (timedelta(0), timedelta(0), True),
        (STALE, STALE, False),
        (STALE, timedelta(0), True),  # the driver's clock is slow
        (-timedelta(hours=2), timedelta(0), True),  # or far ahead
        (-timedelta(hours=2), STALE, False),
        (timedelta(0), STALE, True),  # the storage's clock is slow
        (timedelta(0), -timedelta(hours=2), True),
        (-timedelta(minutes=1), -timedelta(minutes=1), True),  # this machine's is
        (timedelta(days=700_000), STALE, False),
    ],
)
def test_a_driver_on_another_machine_is_alive_where_its_file_is_recent_by_either_clock(
    store: Store, at: timedelta, written: timedelta, runs: bool
) -> None:
    leave(store, at=str(now() - at), written=written)
    driver = the_driver(store)
    assert (driver.runs, driver.is_certain, driver.ended) == (runs, False, "")
    assert driver.last_seen <= datetime.now(UTC)
    if runs:
        assert "driver runs on afar (process 77), since 3.0 h ago" in text_of(store)
    else:
        assert "no sign of life from afar (process 77) for " in text_of(store)
        assert "next python -m dvq_ray.sweep" in text_of(store)


def test_a_file_that_both_clocks_put_into_the_future_says_nothing(store: Store) -> None:
    leave(store, at="9999-12-31T23:59:59Z", written=-timedelta(days=1))
    assert drivers(store, now()) == []


@pytest.fixture
def this_process(tmp_path: Path) -> dict[str, Any]:
    """What this process says of itself in its file as a driver."""
    with Heartbeat(Store(tmp_path / "other"), run(), lambda: ""):
        pass
    sign = json.loads((tmp_path / "other" / "drivers" / f"{'a' * 32}.json").read_text())
    return {field: sign[field] for field in ("host", "pid", "process")}


def started_at_another_time(driver: dict[str, Any]) -> dict[str, Any]:
    return {**driver, "process": driver["process"].rpartition(" ")[0] + " 1"}


def test_on_its_own_machine_a_driver_is_dead_or_alive_whatever_its_file_says(
    store: Store, this_process: dict[str, Any]
) -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        leave(store, "zombie.json", **{**this_process, "pid": process.pid})
        assert not the_driver(store).runs
    leave(store, "dead.json", **{**this_process, "pid": process.pid})
    leave(store, "number_reused.json", **started_at_another_time(this_process))
    leave(store, "alive.json", written=STALE, **this_process, at=str(now() - STALE))
    found = {driver.run_id: (driver.runs, driver.is_certain) for driver in drivers(store, now())}
    dead = (False, True)
    assert found == {"zombie": dead, "dead": dead, "number_reused": dead, "alive": (True, True)}


def test_a_later_driver_removes_files_of_dead_ones_and_leaves_the_living(
    store: Store, this_process: dict[str, Any]
) -> None:
    leave(store, "dead.json", **started_at_another_time(this_process))
    leave(store, "ended.json", ended="done")
    leave(store, "stale.json", written=STALE, at=str(now() - STALE))
    leave(store, "afar.json")
    (Path(store.location) / "drivers" / "note.txt").write_text("mine")
    with Heartbeat(store, run("c" * 32), lambda: ""):
        pass
    names = sorted(path.name for path in Path(store.location, "drivers").iterdir())
    assert names == ["afar.json", f"{'c' * 32}.json", "note.txt"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'"' + b"x" * LONGEST_FILE, b"[" * 4000,
        *(
            json.dumps({"host": "h", "pid": 1, "process": "", "started_at": str(now()), "at": str(now()),
                        "every_seconds": 30.0, "ended": None, **wrong}).encode()
            for wrong in (
                {"pid": -1}, {"pid": 2**40}, {"pid": True}, {"host": "h" * 999}, {"every_seconds": 1e9},
                {"every_seconds": 0}, {"at": "yesterday"}, {"at": "2026-01-01T00:00:00"}, {"ended": 5},
                {"ended": "x" * 2000},
            )
        ),
    ],
)  # fmt: skip
def test_an_invalid_file_is_skipped(store: Store, content: bytes) -> None:
    store.write_driver("b.json", content)
    assert drivers(store, now()) == []
    assert "next python -m dvq_ray.sweep" in text_of(store)


def test_what_is_not_a_plain_file_is_skipped(store: Store) -> None:
    folder = Path(store.location, "drivers")
    (folder / "a.json").mkdir(parents=True)
    os.mkfifo(folder / "b.json")
    (folder / "c.json").symlink_to("c.json")
    (folder / "d.json").symlink_to("/dev/zero")
    (folder / "e.json").symlink_to("nowhere")
    assert drivers(store, now()) == []


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes().map(str)
KEYS = ["host", "pid", "process", "started_at", "at", "every_seconds", "ended"]


@given(SCALARS | st.lists(SCALARS, max_size=2), st.sampled_from(KEYS))
@settings(derandomize=True, max_examples=150, deadline=None)
def test_no_value_of_a_file_is_an_error(value: Any, key: str) -> None:
    sign = {
        "process": "a b c", "started_at": "0001-01-01T00:00:00+23:59", "at": "9999-12-31T23:59:59-23:59", key: value
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for written in (timedelta(0), -timedelta(days=1)):
            leave(Store(folder), written=written, **sign)
            assert len(drivers(Store(folder), now())) <= 1


def test_names_of_a_foreign_file_are_shown_and_not_obeyed(store: Store) -> None:
    leave(store, host="\x1b[31m[bold]a\nb\u202e", ended="\x1b]0;t\x07[/x]\r\nnext rm")
    text = text_of(store)
    assert " s ago on [bold]a b: [/x] next rm" in text
    assert "\x1b" not in text


def test_files_of_drivers_alone_make_no_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    leave(store)
    assert not store.exists()
    assert CliRunner().invoke(status, [store.location]).exit_code == 2


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("text", [TINY, SEARCH])
def test_a_sweep_that_is_done_says_so_and_a_merge_leaves_that_alone(tmp_path: Path, text: str) -> None:
    arguments = [str(write(tmp_path, text)), "--results", str(tmp_path), "--in-process"]
    for _ in range(2):
        assert CliRunner().invoke(sweep, [*arguments]).exit_code == 0
    assert the_driver(Store(tmp_path / "tiny")).ended == "done"
    assert "driver" not in text_of(Store(tmp_path / "tiny"))  # there is nothing to wait for


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGINT, "driver ended N s ago on HOST: interrupted "),
        (signal.SIGTERM, "driver ended N s ago on HOST: interrupted "),
        (signal.SIGKILL, "driver died on HOST (process PID); it was last alive N s ago "),
    ],
)
def test_an_interrupted_sweep_and_a_killed_one_are_distinguished_from_one_that_runs(
    tmp_path: Path, number: int, said: str
) -> None:
    path = write(tmp_path, TINY.replace("steps: 20", "steps: 100_000"))
    command = [sys.executable, "-m", "dvq_ray.sweep", str(path), "--results", str(tmp_path), "--in-process"]
    store = Store(tmp_path / "tiny")
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: bool(store.statuses()))
        assert f"(process {process.pid}), since " in text_of(store)
        assert text_of(store).endswith("next wait; it is running")
        process.send_signal(number)
    host = the_driver(store).host
    said = re.escape(said.replace("HOST", host).replace("PID", str(process.pid))).replace("N\\ s", r"\d+ s")
    assert re.search(said, text_of(store))
    assert "next python -m dvq_ray.sweep" in text_of(store)


@pytest.mark.long
def test_on_object_storage_a_driver_writes_seldom(tmp_path: Path) -> None:
    with serving() as storage:
        results = storage.uri()
        arguments = [str(write(tmp_path)), "--results", results, "--in-process"]
        result = CliRunner().invoke(sweep, arguments)
        assert result.exit_code == 0, result.output
        store = Store.under(results, "tiny")
        assert the_driver(store).ended == "done"
        written = [request for request in storage.requests if request[0] == "PUT" and "/drivers/" in request[1]]
        assert len(written) == 2
