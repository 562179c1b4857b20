"""A server that speaks S3 (moto's), in this process, whose answers can be made to fail as real ones do."""

from __future__ import annotations

import itertools
import logging
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from pyarrow import fs

Fault = Literal["slow_down", "internal_error", "denied", "reset", "answer_lost", "delayed", "hanging"]
PASSING: tuple[Fault, ...] = ("slow_down", "internal_error", "reset", "answer_lost", "delayed")
"""Faults that a second try overcomes. With `answer_lost` the request is carried out, and no answer is sent."""

_ANSWERS = {
    "slow_down": ("503 Slow Down", "SlowDown", "Please reduce your request rate."),
    "internal_error": ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    "denied": ("403 Forbidden", "AccessDenied", "Access Denied"),
}
_REGION = "us-east-1"
_BUCKET = "bucket"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_NOT_OURS = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


_numbers = itertools.count()
"""Numbers of folders: moto keeps its buckets for as long as the process lives, whatever serves them."""


class ObjectStorage:
    """One bucket. `failing` says which requests fail; `requests` are all that came, as method and path."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self._decide = threading.Lock()
        self._ended = threading.Event()
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        """Those that came about."""
        self.endpoint = ""
        self.delay_seconds = 0.05
        """How long a `delayed` request waits."""

    def uri(self, folder: str | None = None, bucket: str = _BUCKET) -> str:
        """That of a folder; without a name, of one that nobody else has."""
        path = folder or f"results-{next(_numbers)}"
        return f"s3://{bucket}/{path}?endpoint_override={self.endpoint.replace(':', '%3A').replace('/', '%2F')}"

    @contextmanager
    def failing(
        self, *kinds: Fault, every: int = 1, methods: Sequence[str] = (), path: str = "", times: int | None = None
    ) -> Iterator[None]:
        """Every so manyth request fails in one of these ways, which are drawn the same each time.

        Counted are those of the methods (or of all) whose path contains `path`; `times` ends it after so many faults.
        """
        chance, numbers, left = random.Random(0), itertools.count(1), itertools.count()

        def fault(method: str, asked: str) -> Fault | None:
            if (methods and method not in methods) or path not in asked or next(numbers) % every:
                return None
            return chance.choice(kinds) if times is None or next(left) < times else None

        self._fault = fault
        try:
            yield
        finally:
            self._fault = lambda method, path: None

    def end(self) -> None:
        """Lets go of requests that hang."""
        self._ended.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request, as WSGI has it."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._decide:
            fault = self._fault(method, path)
            self.requests.append((method, path))
            self.faults += [fault] if fault else []
        if fault in _ANSWERS:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code, message = _ANSWERS[fault]
            body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if method == "HEAD" else [body]
        if fault == "hanging":
            self._ended.wait()
        if fault == "delayed":
            self._ended.wait(self.delay_seconds)
        if fault in ("reset", "hanging"):
            raise _reset(environ)
        answer = list(self._application(environ, start_response))
        if fault == "answer_lost":
            raise _reset(environ)
        return answer


def _reset(environ: dict[str, Any]) -> ConnectionError:
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    return ConnectionResetError()


@contextmanager
def serving() -> Iterator[ObjectStorage]:
    """The server, with an environment in which pyarrow may use it and does not wait long. Skips without moto."""
    moto = pytest.importorskip("moto.server")
    serving_module = pytest.importorskip("werkzeug.serving")

    class Quiet(serving_module.WSGIRequestHandler):  # type: ignore[name-defined,misc]
        def log(self, *_: object) -> None:
            pass

    storage = ObjectStorage(moto.DomainDispatcherApplication(moto.create_backend_app))
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = serving_module.make_server("127.0.0.1", 0, storage, threaded=True, request_handler=Quiet)
    server.log = lambda *_: None  # resets are meant
    storage.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in _NOT_OURS:
            patch.delenv(name, raising=False)
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr("dvq_ray.store.storage.FIRST_WAIT_SECONDS", 0.01)
        patch.setattr("dvq_ray.store.storage.PATIENCE_SECONDS", 30.0)
        bucket = fs.S3FileSystem(endpoint_override=storage.endpoint, region=_REGION, allow_bucket_creation=True)
        bucket.create_dir(_BUCKET)
        try:
            yield storage
        finally:
            storage.end()
            server.shutdown()
            thread.join()
