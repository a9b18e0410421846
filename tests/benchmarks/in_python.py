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
from typing import Any, Final, cast

from duck.http.site import Site, SiteConfig
from duck.net.clock import Clock
from duck.net.limits import Limits
from duck.net.server import Server
from duck.net.upstream_connection import UpstreamConnection
from duck.proxy.upstream import Generation, Upstream
from tests.benchmarks.load import request_around_number

REQUESTS: Final = 4000
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"

Receive = Callable[[bytes], None]


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


def client(loop: asyncio.AbstractEventLoop, clock: Clock, site: Site) -> tuple[Receive, Nowhere]:
    """A client's connection to `site`: where its bytes come in, and where they go out."""
    connection: Any = Server(loop, clock, site, Limits()).protocol()
    transport = Nowhere()
    connection.connection_made(transport)
    return connection.data_received, transport


def hop(loop: asyncio.AbstractEventLoop, clock: Clock) -> Callable[[list[bytes]], None]:
    """Requests that one kept connection to a backend answers at once."""
    site = Site(SiteConfig(), loop, clock)
    upstream = Upstream("http", ("127.0.0.1", 1), 512, "backend", patient=False)
    site.switch(Generation(1, (upstream,), (), {}))
    ask, transport = client(loop, clock, site)
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
        assert transport.last.endswith(b"Hello, world!")

    return run


def static(loop: asyncio.AbstractEventLoop, clock: Clock, root: Path) -> Callable[[list[bytes]], None]:
    """Requests for a file of 1 KiB."""
    (root / "1k.css").write_bytes(b"x" * 1024)
    site = Site(SiteConfig(), loop, clock)
    facts = {"debug": False, "static": {"installed": True, "url": "/static/", "root": str(root)}}
    site.switch(Generation(1, (Upstream("http", ("127.0.0.1", 1), 8, "backend"),), (), facts))
    ask, transport = client(loop, clock, site)

    def run(requests: list[bytes]) -> None:
        for request in requests:
            ask(request)
        assert transport.last.endswith(b"x" * 1024)

    return run


def requests(path: str, number: int, *, varied: bool) -> Iterator[bytes]:
    """A browser's requests, each an object of its own as those that are read; `varied`: another session each."""
    before, after = (part.encode() for part in request_around_number(path, "127.0.0.1:8000"))
    for _ in range(REQUESTS):
        number += varied
        yield b"%b%09d%b" % (before, number, after)


def main(rounds: int = 30) -> None:
    """Print one line for each kind of request."""
    loop = asyncio.new_event_loop()
    clock = Clock(loop)
    with tempfile.TemporaryDirectory() as directory:
        kinds = {
            "hop": (hop(loop, clock), "/hello"),
            "static": (static(loop, clock, Path(directory)), "/static/1k.css"),
        }
        found: dict[str, list[float]] = {}
        for number in range(rounds):
            for name, (run, path) in kinds.items():
                for varied in (False, True):
                    asked = list(requests(path, (number + 1) * REQUESTS, varied=varied))
                    started = time.process_time_ns()
                    run(asked)
                    taken = (time.process_time_ns() - started) / REQUESTS / 1000
                    kind = f"{name}, {'another session each' if varied else 'the same again'}"
                    found.setdefault(kind, []).append(taken)
    loop.close()
    for kind, costs in found.items():
        print(f"{kind:30} {min(costs):6.2f} {sorted(costs)[len(costs) // 4]:6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
