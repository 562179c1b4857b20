"""The address of a Ray cluster: which one is meant, and whether a cluster answers there.

Ray itself tries a wrong address for between 20 seconds and minutes, and then ends the process or raises an error that
does not say what to write. Here a wrong address is reported within about a second, before Ray is started.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from dvq_ray.execution.executor import ResourcesError

_SECONDS = 2.0
"""Time for a connection, and for an answer. A lost packet is sent again after one second."""
_FORM = re.compile(r"([^\s:/@]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
_CLIENT_PORT = "10001"
_WEB_SERVER = (b"HTTP/1", b"<")
"""How a server answers that does not know the protocol, with a page in some cases."""


def cluster_address(option: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The address that `--address`, or else RAY_ADDRESS, names; None to start a cluster on this machine."""
    address = (option or environment.get("RAY_ADDRESS") or "").strip()
    return None if address in ("", "local") else address


def check_answers(address: str) -> None:
    """Raises `ResourcesError`, which says what to write instead, unless a Ray cluster answers at the address."""
    if address == "auto":
        address = _of_this_machine()
    elif not _port(address):
        raise ResourcesError(_not_an_address(address))
    host = address.rpartition(":")[0].strip("[]")
    with _connected(address, host, _port(address)) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):  # the answer would be encrypted
            _check_is_ray(address, _answer(connection))


def _of_this_machine() -> str:
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        found = None
    if found is None:
        raise ResourcesError("auto: no Ray cluster runs on this machine; write HOST:PORT for one that runs elsewhere")
    return str(found)


def _port(address: str) -> int:
    """The port of HOST:PORT; 0 if the address has another form or there is no such port."""
    found = _FORM.fullmatch(address)
    port = int(found["port"]) if found else 0
    return port if port < 2**16 else 0


def _not_an_address(address: str) -> str:
    scheme, _, rest = address.rpartition("://")
    place = rest.strip("/").partition("/")[0]
    host = place.partition(":")[0] or "HOST"
    if scheme in ("http", "https"):
        return (
            f"{address} is the address of a dashboard; write {host}:6379, where 6379 is the --port of "
            f"`ray start --head`, or submit the sweep: ray job submit --address {scheme}://{place} -- python -m "
            "dvq_ray.sweep ..."
        )
    if scheme == "ray":
        return (
            f"{address}: Ray's client would keep the driver away from the cluster; allowed: HOST:PORT from a machine "
            f"of the cluster's network, such as {host}:6379, or `ray job submit`"
        )
    meant = place if _port(place) else f"{host}:6379, where 6379 is the --port of `ray start --head`"
    return f"{address} is not the address of a Ray cluster; write {meant}"


def _connected(address: str, host: str, port: int) -> socket.socket:
    """A connection. Looking up a name takes as long as the system likes, so that is left to a thread."""
    found: list[socket.socket | Exception] = []

    def connect() -> None:
        try:
            found.append(socket.create_connection((host, port), timeout=_SECONDS))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_SECONDS + 0.1)
    connection = found[0] if found else TimeoutError("timed out")
    if isinstance(connection, Exception):
        raise ResourcesError(
            f"no Ray cluster answers at {address}: {connection}; start one with `ray start --head`, or write the "
            "HOST:PORT of one that runs"
        )
    return connection


def _answer(connection: socket.socket) -> bytes:
    """What comes back from a call that every cluster answers, the one by which Ray asks whether its head is alive.

    It is gRPC, written out as the frames of HTTP/2, since the calls of Ray's own client are repeated for 20 seconds.
    """
    fields = {
        ":method": "POST", ":scheme": "http", ":path": "/ray.rpc.NodeInfoGcsService/CheckAlive", ":authority": "ray",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    if token := _token():
        fields["authorization"] = f"Bearer {token}"
    headers = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    received = b""
    try:
        connection.sendall(preface + _frame(4, 0, 0, b"") + _frame(1, 4, 1, headers) + _frame(0, 1, 1, bytes(5)))
        while b"grpc-status" not in received and not received.startswith(_WEB_SERVER):
            more = connection.recv(4096)
            if not more:
                break
            received += more
    except OSError:  # it is too slow or hangs up: what it sent until then is the answer
        pass
    return received


def _check_is_ray(address: str, answer: bytes) -> None:
    host = address.rpartition(":")[0]
    elsewhere = f"write {host}:6379, where 6379 is the --port of `ray start --head`"
    if answer.startswith(_WEB_SERVER):
        raise ResourcesError(
            f"a web server answers at {address}, such as Ray's dashboard; {elsewhere}, or submit the sweep: "
            f"ray job submit --address http://{address} -- python -m dvq_ray.sweep ..."
        )
    if b"grpc-status\x0216" in answer:
        raise ResourcesError(
            f"the Ray cluster at {address} asks for its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "~/.ray/auth_token to the token of its nodes"
        )
    if b"grpc-status\x0212" in answer or address.endswith(f":{_CLIENT_PORT}"):
        raise ResourcesError(f"another service of Ray's listens at {address}; {elsewhere}")
    if b"grpc-status" not in answer:
        raise ResourcesError(
            f"what listens at {address} does not answer as a Ray cluster does; write the HOST:PORT that "
            "`ray start --head` printed"
        )


def _token() -> str:
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return ""
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    try:
        return (os.environ.get("RAY_AUTH_TOKEN") or Path(path).read_text()).strip()
    except (OSError, ValueError):
        return ""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _text(text: str) -> bytes:
    """A string of a header, which is shorter than 127 bytes."""
    return bytes([len(text)]) + text.encode("latin-1")
