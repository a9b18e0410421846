"""What one hit of a small static file costs in Python, without socket and parser.

    .venv/bin/python tests/benchmarks/static_hit.py

Prints the median of rounds, in microseconds, for a browser-like request. The stream drops what it is given, and the
cost of making the exchange is measured apart and taken off.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from duck.http.files import StaticFiles
from duck.net.exchange import Exchange
from duck.net.peer import Peer
from duck.wire.head import RequestHead

BROWSER = [
    (b"Host", b"example.org"),
    (b"Connection", b"keep-alive"),
    (b"sec-ch-ua", b'"Chromium";v="130", "Not?A_Brand";v="99"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36"),
    (b"Accept", b"text/css,*/*;q=0.1"),
    (b"Sec-Fetch-Site", b"same-origin"),
    (b"Sec-Fetch-Mode", b"no-cors"),
    (b"Sec-Fetch-Dest", b"style"),
    (b"Referer", b"http://example.org/"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    (b"Accept-Language", b"en-GB,en;q=0.9"),
    (b"Cookie", b"csrftoken=abcdefabcdefabcdefabcdef; sessionid=0123456789abcdef"),
]
ROUNDS = 15
TIMES = 20_000


class Nothing:
    """A stream that drops what it is given."""

    def send_answer(self, exchange, head, body):
        pass


class Missed:
    """A handler that must not be reached."""

    def handle(self, exchange):
        raise AssertionError("a miss")


def measure(fields) -> float:
    """Microseconds for each hit."""
    request = RequestHead(b"GET", b"/static/css/app.css", fields)
    peer, stream = Peer("127.0.0.1", 40000, "127.0.0.1", 8000), Nothing()
    with tempfile.TemporaryDirectory() as root:
        file = Path(root, "css/app.css")
        file.parent.mkdir()
        file.write_bytes(b"x" * 1024)
        file.with_name("app.css.br").write_bytes(b"y" * 200)
        handler = StaticFiles("/static/", Missed(), root=root)
        handler.handle(Exchange(request, peer, stream, 0.0, 0))
        rounds = []
        for _ in range(ROUNDS):
            exchanges = [Exchange(request, peer, stream, 0.0, 0) for _ in range(TIMES)]
            started = time.process_time()
            for exchange in exchanges:
                handler.handle(exchange)
            rounds.append((time.process_time() - started) / TIMES * 1e6)
            assert all(exchange.status == 200 for exchange in exchanges)
    return statistics.median(rounds)


if __name__ == "__main__":
    sys.stdout.write(f"Python {sys.version.split()[0]}\n")
    sys.stdout.write(f"browser, {len(BROWSER)} fields: {measure(BROWSER):.2f} us a hit\n")
    sys.stdout.write(f"load generator, 1 field: {measure(BROWSER[:1]):.2f} us a hit\n")
