"""A connection frames as the parts it is made of, which are judged in tests/wire/test_judges.py."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from duck.net.clock import Clock
from duck.net.limits import Limits
from duck.net.server import Server
from duck.wire.head import ResponseHead
from tests.wire.corpus import HOSTILE_REQUESTS, VALID_REQUESTS
from tests.wire.judges import Framed, duck_requests
from tests.wire.test_judges import mutated

if TYPE_CHECKING:
    import asyncio

    from duck.net.exchange import Exchange
    from duck.wire.fields import Fields


_EMPTY_LINES = re.compile(rb"(?:\A|abc|\r\n\r\n)\r\n\r\nGET /next")


class Loop:
    """What a connection asks of its loop: a turn later."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], object]] = deque()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._soon.append(callback)

    def run(self) -> None:
        while self._soon:
            self._soon.popleft()()


class Transport:
    """Takes what is written; gives what the test feeds while reading is not paused."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.paused = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.written += b"".join(pieces)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close


class Reader:
    """A handler that reads each body to its end, then answers; it remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def handle(self, exchange: Exchange) -> None:
        exchange.read_body(_Body(self, exchange))


class _Body:
    def __init__(self, reader: Reader, exchange: Exchange) -> None:
        self._reader = reader
        self._exchange = exchange
        self._body = b""

    def data(self, chunk: bytes) -> None:
        assert chunk
        self._body += chunk

    def end(self, trailers: Fields | None) -> None:
        request = self._exchange.request
        self._reader.seen.append((request.method + b" " + request.target, self._body))
        self._exchange.answer(ResponseHead(200), b"ok")

    def abort(self, error: Exception) -> None:
        pass


def serve(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes]], Transport]:
    """Requests with their bodies, as the handler got them; and the client's end of the connection."""
    reader = Reader()
    loop = cast("Any", Loop())
    server = Server(loop, Clock(loop), reader, Limits(max_body_bytes=1 << 60))
    connection = cast("Any", server.protocol())
    transport = Transport()
    connection.connection_made(cast("asyncio.Transport", transport))
    for piece in pieces:
        if transport.closed:
            break
        connection.data_received(piece)
        loop.run()
    return reader.seen, transport


def check(data: bytes, expected: Framed, pieces: list[bytes]) -> None:
    seen, transport = serve(pieces)
    count = len(expected.messages)
    for (start, body), message in zip(seen, expected.messages, strict=False):
        assert body == message.body
        assert start == message.start or not message.start.partition(b" ")[2].startswith(b"/")
    if expected.ending == "refused":
        assert len(seen) == count
        assert transport.closed
        assert b" 200 OK\r\n" not in transport.written.split(b"HTTP/1.1")[-1]
    elif b"upgrade" not in data.lower():  # nobody switches protocols here, so the connection may go on
        assert len(seen) == count
        assert transport.closed is (expected.ending == "closed")


@pytest.mark.parametrize("data", [*VALID_REQUESTS, *HOSTILE_REQUESTS])
def test_a_connection_frames_as_its_parts_in_one_piece_and_byte_by_byte(
    data: bytes,
) -> None:
    expected = duck_requests(data)
    check(data, expected, [data])
    # Empty lines before a request are refused when they come together, and let pass one by one: no byte of a message
    # is read differently, so there is nothing to remember of them.
    if _EMPTY_LINES.search(data) is None:
        check(data, expected, [data[at : at + 1] for at in range(len(data))])


@settings(deadline=None, max_examples=150)
@given(data=mutated(VALID_REQUESTS), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_a_connection_frames_as_its_parts_however_the_bytes_come(data: bytes, cuts: list[int]) -> None:
    assume(b"\r\n\r\n\r\n" not in data and re.search(rb"(?:\A|abc|\d{4})\r\n\r\n", data) is None)
    expected = duck_requests(data)
    ends = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    check(data, expected, [data[at:end] for at, end in pairwise(ends)])
