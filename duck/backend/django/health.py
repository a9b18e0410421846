"""One real request to a new Django process, before it is used: does its health path answer?"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.wire.link import ASK, AUTH, FRONT_BYTES, REQUEST_ITEMS, AnswerReader, LinkError, frame, request_frame

if TYPE_CHECKING:
    from duck.proxy.upstream import Upstream

_MAX_HEAD_BYTES: Final = 65_536
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_AGENT: Final = "duck (health)"


def probe(upstream: Upstream, path: str, facts: Mapping[str, Any], prefix: str, timeout_s: float) -> str:
    """GET `path` as a client of https would, from the host that the project allows first.

    Blocks, at most `timeout_s` seconds. Returns why the answer is none to rely on, as the end of a sentence; empty
    where its status is 2xx or 3xx.
    """
    host = allowed_host(facts.get("allowed_hosts") or ())
    deadline = time.monotonic() + timeout_s
    try:
        with _connect(upstream, timeout_s) as connection:
            ask = _ask_link if upstream.protocol == "link" else _ask_http
            status = ask(connection, upstream, path, host, prefix.rstrip("/"), deadline)
    except TimeoutError:
        return f"did not answer within {timeout_s:.0f} s"
    except (OSError, EOFError, LinkError) as error:
        return f"did not answer ({error or 'the connection was closed'})"
    return "" if 200 <= status < 400 else f"answered {status}"


def probe_on_thread(
    upstream: Upstream,
    path: str,
    facts: Mapping[str, Any],
    prefix: str,
    timeout_s: float,
    told: Callable[[str], None],
) -> None:
    """The same on a thread of its own, for it may take long; `told` is called there with what it returns."""

    def ask() -> None:
        told(probe(upstream, path, facts, prefix, timeout_s))

    threading.Thread(target=ask, name=f"duck-health-{facts['pid']}", daemon=True).start()


def allowed_host(hosts: Sequence[str]) -> str:
    """A host that ALLOWED_HOSTS lets pass."""
    for host in hosts:
        if host == "*":
            break
        if host.removeprefix("."):
            return host.removeprefix(".")
    return "localhost"


def _connect(upstream: Upstream, timeout_s: float) -> socket.socket:
    address = upstream.address
    if not isinstance(address, str):
        return socket.create_connection(address, timeout=timeout_s)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    data = connection.recv(65_536)
    if not data:
        raise EOFError
    return data


def _ask_link(connection: socket.socket, upstream: Upstream, path: str, host: str, prefix: str, deadline: float) -> int:
    heard = _Heard()
    reader = AnswerReader(heard)
    if upstream.secret:
        connection.sendall(frame(AUTH, upstream.secret.encode()))
    connection.sendall(frame(ASK, bytes(FRONT_BYTES)))
    while not heard.hello:
        reader.feed(_receive(connection, deadline))
    below = path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path
    items = {
        "method": "GET",
        "script_name": prefix if below is not path else "",
        "path": below.partition("?")[0],
        "query": path.partition("?")[2],
        "target": path,
        "protocol": "HTTP/1.1",
        "scheme": "https",
        "remote_host": "127.0.0.1",
        "remote_port": "0",
        "server_name": host,
        "server_port": "443",
    }
    fields = ["Host", host, "User-Agent", _AGENT, "Accept", "*/*"]
    head = "\0".join([items.get(name, "") for name in REQUEST_ITEMS] + fields)
    connection.sendall(request_frame(head.encode("latin-1", "replace")))
    while not heard.status:
        reader.feed(_receive(connection, deadline))
    return heard.status


def _ask_http(connection: socket.socket, upstream: Upstream, path: str, host: str, prefix: str, deadline: float) -> int:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"User-Agent: {_AGENT}", "Accept: */*", "Connection: close"]
    if upstream.identity_field:
        lines.append(f"{upstream.identity_field}: {upstream.secret} https 127.0.0.1 0 {host} 443")
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
    received = b""
    while b"\r\n" not in received and len(received) < _MAX_HEAD_BYTES:
        received += _receive(connection, deadline)
    match = _STATUS.match(received)
    return int(match[1]) if match is not None else 0


class _Heard:
    """An `AnswerReceiver` that wants to know the status alone."""

    def __init__(self) -> None:
        self.hello = False
        self.status = 0

    def link_hello(self) -> None:
        self.hello = True

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        self.status = status

    def link_data(self, chunk: bytes) -> None: ...
    def link_end(self) -> None: ...
    def link_cut(self, reason: str) -> None: ...
    def link_found(self, path: bytes) -> None: ...
    def link_recall(self, level: int) -> None: ...
    def link_measure(self, queries: int, database_us: int, template_us: int, all_us: int) -> None: ...
    def link_free(self, all_us: int) -> None: ...
