"""Whether Ray's own processes are there, by sockets that stand for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dvq_ray.execution.tune.cluster_watch import ClusterWatch, Service


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server


def service(server: socket.socket, *, own: bool) -> Service:
    return Service(name="Ray's head (GCS)", host="127.0.0.1", port=server.getsockname()[1], own=own)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def never(why: str) -> None:
    raise AssertionError(why)


@pytest.mark.parametrize(("own", "seconds"), [(True, 2), (False, 45)])
def test_a_service_is_lost_after_it_was_gone_for_a_while(own: bool, seconds: float) -> None:
    clock = Clock()
    with listening() as server:
        watch = ClusterWatch([service(server, own=own)], never, clock=clock)
        clock.now = 1000.0
        assert watch.lost() == ""
        assert watch.refused() == ""
        port = server.getsockname()[1]
    sentence = f"Ray's head (GCS) at 127.0.0.1:{port} is gone: Connection refused"
    assert watch.refused() == sentence
    assert watch.lost() == ""
    clock.now += seconds - 0.1
    assert watch.lost() == ""
    clock.now += 0.2
    assert watch.lost() == sentence


def test_a_head_that_comes_back_is_not_lost() -> None:
    clock = Clock()
    with listening() as server:
        head = service(server, own=False)
    watch = ClusterWatch([head], never, clock=clock)
    for now in (0.0, 40.0):
        clock.now = now
        assert watch.lost() == ""
    with socket.create_server(("127.0.0.1", head.port)):
        clock.now = 44.0
        assert watch.lost() == ""
    for now in (46.0, 80.0):  # counted anew
        clock.now = now
        assert watch.lost() == ""
    clock.now = 92.0
    assert "is gone" in watch.lost()


def test_a_machine_that_answers_late_has_not_lost_its_own_services(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with listening() as server:
        watch = ClusterWatch([service(server, own=True)], never, clock=clock)
    monkeypatch.setattr(Service, "problem", lambda self: TimeoutError("timed out"))
    for now in (0.0, 1000.0):
        clock.now = now
        assert watch.lost() == ""
    assert watch.refused() == ""


def test_the_loss_is_told_once_from_a_thread() -> None:
    told: list[str] = []
    heard = threading.Event()

    def on_lost(why: str) -> None:
        told.append(why)
        heard.set()

    with listening() as one, listening() as other:
        with ClusterWatch([service(one, own=True), service(other, own=True)], on_lost):
            one.close()
            assert heard.wait(60)
            assert threading.active_count() >= 1
        assert len(told) == 1
        assert "is gone" in told[0]


def test_nothing_is_told_after_the_end() -> None:
    with listening() as server, ClusterWatch([service(server, own=True)], never):
        pass
