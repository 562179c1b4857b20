"""Addresses of Ray clusters: which one is meant, and what is said of one at which no cluster answers. No Ray runs."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from dvq_ray.execution.executor import ResourcesError
from dvq_ray.execution.tune import ray_address
from dvq_ray.execution.tune.ray_address import check_answers, cluster_address


@pytest.mark.parametrize(
    ("option", "variable", "address"),
    [
        (None, None, None),
        (None, "", None),
        (None, "  ", None),
        ("", None, None),
        (None, "local", None),
        ("local", "host:6379", None),
        (None, "host:6379", "host:6379"),
        (None, " host:6379\n", "host:6379"),
        ("", "host:6379", "host:6379"),
        ("other:1", "host:6379", "other:1"),
        ("auto", None, "auto"),
    ],
)
def test_the_option_comes_before_the_variable(option: str | None, variable: str | None, address: str | None) -> None:
    assert cluster_address(option, {} if variable is None else {"RAY_ADDRESS": variable}) == address


def refusal(address: str) -> str:
    """What is said of the address. Names are looked up and connections tried for two seconds, whatever the system's."""
    started = time.monotonic()
    with pytest.raises(ResourcesError) as raised:
        check_answers(address)
    assert time.monotonic() - started < 60  # Ray itself takes minutes for some of these
    text = str(raised.value)
    assert address in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://10.0.0.1:8265", "is the address of a dashboard; write 10.0.0.1:6379, where"),
        ("http://10.0.0.1:8265/", "ray job submit --address http://10.0.0.1:8265 -- python -m dvq_ray.sweep"),
        ("https://ray.example.com", "is the address of a dashboard; write ray.example.com:6379"),
        ("https://ray.example.com/dashboard/", "ray job submit --address https://ray.example.com -- "),
        ("ray://head:10001", "allowed: HOST:PORT from a machine of the cluster's network, such as head:6379"),
        ("grpc://head:6379", "is not the address of a Ray cluster; write head:6379"),
        ("redis://head:6379/", "write head:6379"),
        ("10.0.0.1:6379/", "is not the address of a Ray cluster; write 10.0.0.1:6379"),
        ("10.0.0.1", "write 10.0.0.1:6379, where 6379 is the --port of `ray start --head`"),
        ("10.0.0.1:", "write 10.0.0.1:6379, where"),
        (":6379", "write HOST:6379"),
        ("10.0.0.1:port", "write 10.0.0.1:6379, where"),
        ("10.0.0.1:0", "write 10.0.0.1:6379, where"),
        ("10.0.0.1:65536", "write 10.0.0.1:6379, where"),
        ("10.0.0.1:٦٣٧٩", "write 10.0.0.1:6379, where"),
        ("10.0.0.1:6379,10.0.0.2:6379", "write 10.0.0.1:6379, where"),
        ("user@10.0.0.1:6379", "is not the address of a Ray cluster"),
        ("::1:6379", "is not the address of a Ray cluster"),
        ("10.0.0.1 6379", "is not the address of a Ray cluster"),
    ],
)
def test_what_is_no_address_is_told_with_what_to_write(address: str, said: str) -> None:
    assert said in refusal(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:1", "no-such-host.invalid:6379", "\udcff:6379", "x" * 300 + ":1"]
)
def test_an_address_at_which_nothing_listens_is_told(address: str) -> None:
    assert "no Ray cluster answers at" in refusal(address)


def test_a_host_that_never_answers_is_told_without_waiting_for_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    monkeypatch.setattr(ray_address, "_SECONDS", 0.05)
    try:
        assert "timed out" in refusal("silent.example.com:6379")
    finally:
        over.set()


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def replying(reply: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(reply)

    return answer


SETTINGS = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0@\0\0"
# As Ray 2.60 sent them.
FROM_HEAD = SETTINGS + (
    b"\0\0N\x01\x04\0\0\0\x01\x88@\x0ccontent-type\x10application/grpc\0\0\x11\0\0\0\0\0\x01\0\0\0\0\x0c"
    b"\n\0\x12\x062.60.0 \x01\0\0\x0f\x01\x05\0\0\0\x01@\x0bgrpc-status\x010"
)
WITHOUT_TOKEN = SETTINGS + b"\0\0}\x01\x05\0\0\0\x01\x88@\x0ccontent-type\x10application/grpc\0\x0bgrpc-status\x0216"
FROM_RAYLET = SETTINGS + b"\0\x000\x01\x05\0\0\0\x01\x88@\x0ccontent-type\x10application/grpc@\x0bgrpc-status\x0212"


def test_a_head_that_answers_is_taken() -> None:
    with listening(replying(FROM_HEAD)) as address:
        check_answers(address)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server answers at"),
        (WITHOUT_TOKEN, "asks for its token: set RAY_AUTH_MODE=token"),
        (FROM_RAYLET, "another service of Ray's listens at"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not answer as a Ray cluster does"),
        (b"-ERR unknown command 'PRI'\r\n", "does not answer as a Ray cluster does"),
        (SETTINGS, "does not answer as a Ray cluster does"),
        (b"", "does not answer as a Ray cluster does"),
        (b"\0" * 100_000, "does not answer as a Ray cluster does"),
    ],
)
def test_another_service_is_told_apart(reply: bytes, said: str) -> None:
    with listening(replying(reply)) as address:
        assert said in refusal(address)


def test_a_service_that_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "_SECONDS", 0.1)
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        over.wait(60)

    with listening(answer) as address:
        assert "does not answer as a Ray cluster does" in refusal(address)
        over.set()


def test_a_real_web_server_is_told_to_be_one() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        text = refusal(f"127.0.0.1:{server.server_port}")
    assert "a web server answers at" in text
    assert f"ray job submit --address http://127.0.0.1:{server.server_port} -- " in text


def test_an_encrypted_answer_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listening(replying(b"\x15\x03\x03")) as address:
        check_answers(address)


def test_the_token_is_shown_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    received: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        received.append(connection.recv(4096))
        connection.sendall(FROM_HEAD)

    with listening(answer) as address:
        check_answers(address)
    assert b"\rauthorization\x47Bearer " + b"f" * 64 in received[0]
