"""What one request costs beside the loop and the kernel: bytes through the real objects, none of them sent.

    python -m tests.benchmarks.in_python [ROUNDS]

CPU time of this process in microseconds for one request, least and lower quartile of many short runs in turn. Another
form of Duck is measured with its directory first on PYTHONPATH; run them in turn, for the machine changes its pace.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, cast

import hpack

from duck.http.site import Site, SiteConfig
from duck.net.clock import Clock
from duck.net.limits import Limits
from duck.net.server import Server
from duck.net.upstream_connection import UpstreamConnection
from duck.proxy.upstream import Generation, Upstream
from duck.wire.h2_frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    PREFACE,
    SETTINGS,
    frame_header,
    window_update,
)
from tests.benchmarks.load import BROWSER_FIELDS, SESSION, request_around_number

REQUESTS: Final = 4000
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"

Receive = Callable[[bytes], None]
Flush = Callable[[], None] | None


class Requests(Protocol):
    """Makes `REQUESTS` requests, each an object of its own as those that are read; `varied`: another session each."""

    def __call__(self, path: str, number: int, *, varied: bool) -> Iterator[bytes]: ...


class Nowhere:
    """A transport that drops what it is given."""

    def __init__(self) -> None:
        self.last = b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1234) if name in ("peername", "sockname") else default

    def write(self, data: bytes) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None) -> None: ...


def client(loop: asyncio.AbstractEventLoop, clock: Clock, site: Site, *, http2: bool) -> tuple[Receive, Flush, Nowhere]:
    """A client's connection to `site`: where its bytes come in, and where they go out."""
    connection: Any = Server(loop, clock, site, Limits()).protocol_for("h2" if http2 else None)
    transport = Nowhere()
    connection.connection_made(transport)
    if http2:
        connection.data_received(PREFACE + frame_header(0, SETTINGS, 0, 0) + window_update(0, MAX_WINDOW - 65_535))
    return connection.data_received, getattr(connection, "flush", None), transport


def hop(loop: asyncio.AbstractEventLoop, clock: Clock, *, http2: bool = False) -> Callable[[list[bytes]], None]:
    """Requests that one kept connection to a backend answers at once."""
    site = Site(SiteConfig(), loop, clock)
    upstream = Upstream("http", ("127.0.0.1", 1), 512, "backend", patient=False)
    site.switch(Generation(1, (upstream,), (), {}))
    ask, flush, transport = client(loop, clock, site, http2=http2)
    assert site.proxy.backends is not None
    pool = site.proxy.backends.pages[0].https
    backend = UpstreamConnection("backend", pool.release, pool._lost)
    pool.open.add(backend)
    backend.connection_made(cast("asyncio.Transport", Nowhere()))
    answer = backend.data_received

    def run(requests: list[bytes]) -> None:
        for request in requests:
            ask(request)
            answer(ANSWER)
            if flush is not None:
                flush()  # the loop would, at the end of its turn
        assert transport.last.endswith(b"Hello, world!")

    return run


def static(
    loop: asyncio.AbstractEventLoop, clock: Clock, root: Path, *, http2: bool = False
) -> Callable[[list[bytes]], None]:
    """Requests for a file of 1 KiB."""
    (root / "1k.css").write_bytes(b"x" * 1024)
    site = Site(SiteConfig(), loop, clock)
    facts = {"debug": False, "static": {"installed": True, "url": "/static/", "root": str(root)}}
    site.switch(Generation(1, (Upstream("http", ("127.0.0.1", 1), 8, "backend"),), (), facts))
    ask, _, transport = client(loop, clock, site, http2=http2)

    def run(requests: list[bytes]) -> None:
        for request in requests:
            ask(request)
        assert transport.last.endswith(b"x" * 1024)

    return run


def requests(path: str, number: int, *, varied: bool) -> Iterator[bytes]:
    """A browser's requests, over HTTP/1."""
    before, after = (part.encode() for part in request_around_number(path, "127.0.0.1:8000"))
    for _ in range(REQUESTS):
        number += varied
        yield b"%b%09d%b" % (before, number, after)


class Frames:
    """The same requests over HTTP/2, as one connection's."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._stream_id = -1

    def __call__(self, path: str, number: int, *, varied: bool) -> Iterator[bytes]:
        fields = [(name.lower(), value) for name, value in BROWSER_FIELDS.items() if name != "Connection"]
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "127.0.0.1:8000"), (":path", path)]
        for _ in range(REQUESTS):
            number += varied
            sent = [
                (name, value.partition(SESSION)[0] + f"{SESSION}{number:09d}" if name == "cookie" else value)
                for name, value in fields
            ]
            block = self._encoder.encode(pseudo + sent)
            self._stream_id += 2
            yield frame_header(len(block), HEADERS, END_HEADERS | END_STREAM, self._stream_id) + block


def main(rounds: int = 30) -> None:
    """Print one line for each kind of request."""
    loop = asyncio.new_event_loop()
    clock = Clock(loop)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        kinds: dict[str, tuple[Callable[[list[bytes]], None], Requests, str]] = {
            "hop": (hop(loop, clock), requests, "/hello"),
            "static": (static(loop, clock, root), requests, "/static/1k.css"),
            "hop, HTTP/2": (hop(loop, clock, http2=True), Frames(), "/hello"),
            "static, HTTP/2": (static(loop, clock, root, http2=True), Frames(), "/static/1k.css"),
        }
        found: dict[str, list[float]] = {}
        for number in range(rounds):
            for name, (run, make, path) in kinds.items():
                for varied in (False, True):
                    asked = list(make(path, (number + 1) * REQUESTS, varied=varied))
                    started = time.process_time_ns()
                    run(asked)
                    taken = (time.process_time_ns() - started) / REQUESTS / 1000
                    kind = f"{name}, {'another session each' if varied else 'the same again'}"
                    found.setdefault(kind, []).append(taken)
    loop.close()
    for kind, costs in found.items():
        print(f"{kind:40} {min(costs):6.2f} {sorted(costs)[len(costs) // 4]:6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
