"""A load generator for machines without wrk: keep-alive connections, each with one request at a time.

    python -m tests.benchmarks.generator URL CONNECTIONS SECONDS [varied]

Answers need a Content-Length. The last line of output is JSON with the attributes of `load.Answers`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from tests.benchmarks.load import request_around_number


class Client(asyncio.Protocol):
    """One connection; asks again as soon as it is answered."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], errors: list[str]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._errors = errors
        self._head = b""
        self._left = -1  # of the body; -1 within the head
        self._failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return
            self._head = b""
            lower = head.lower()
            at = lower.find(b"content-length:")
            if at < 0:
                self._errors.append("no length")
                self._transport.abort()
                return
            self._left = int(lower[at + 15 :].split(b"\r\n", 1)[0])
            self._failed = head[9:10] != b"2"
        self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self._latencies.append(time.perf_counter() - self._started)
            if self._failed:
                self._errors.append("status")
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._errors.append(str(error))


def requests(url: str, *, varied: bool) -> Iterator[bytes]:
    """One request after the other, without end."""
    parts = urlsplit(url)
    before, after = (text.encode() for text in request_around_number(parts.path, parts.netloc))
    for number in itertools.count(100_000_000, int(varied)):
        yield before + str(number).encode() + after


async def ask(url: str, connections: int, seconds: float, *, varied: bool = False) -> dict[str, float]:
    """Ask for so long; what came of it."""
    parts = urlsplit(url)
    asked = requests(url, varied=varied)
    latencies: list[float] = []
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    transports = [
        (await loop.create_connection(lambda: Client(asked, latencies, errors), host, port))[0]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    taken = time.perf_counter() - started
    for transport in transports:
        transport.abort()
    ordered = sorted(latencies) or [0.0]
    return {
        "requests": len(latencies),
        "seconds": taken,
        "p50_us": ordered[len(ordered) // 2] * 1e6,
        "p99_us": ordered[len(ordered) * 99 // 100] * 1e6,
        "errors": len(errors),
    }


def main() -> None:
    """Read the arguments, ask, write what came of it."""
    url, connections, seconds, *varied = sys.argv[1:]
    asking = ask(url, int(connections), float(seconds), varied=varied == ["varied"])
    try:
        import uvloop
    except ImportError:
        result = asyncio.run(asking)
    else:
        result = uvloop.run(asking)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
