"""For tests, Duck's own and its users': exchanges and connections without a socket.

`record_exchange` makes an exchange, to be handed to a handler; the `FakeStream` beside it tells what was answered.
`FakeTransport` stands below a connection: a test plays the peer and the kernel, in steps of its own.
`AutomationClock` shows which runs of automations there would be, while a test moves the time.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from duck.exceptions import ClientGone
from duck.net.exchange import Exchange
from duck.net.peer import Peer
from duck.services.automations.rehearsal import AutomationClock as AutomationClock
from duck.services.automations.rehearsal import Rehearsed as Rehearsed
from duck.wire.fields import get, get_all
from duck.wire.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from duck.net.interfaces import Duplex
    from duck.wire.fields import Fields

FileDone = Callable[[Exception | None], None]


class FakeStream:
    """Carries one exchange into memory, as `net.interfaces.Stream` says, and holds its callers to the order of calls.

    Args:
        high_water: body bytes after which the answer is paused, until `drain`; None for never.
        hold_files: leave what `send_file` was given until `release_file`, as a slow client does.

    Attributes:
        exchange: what is carried; set by `record_exchange`.
        head: of the final answer, None before it.
        informational: the 1xx heads, in order.
        body: what was sent of the answer's body.
        chunks: lengths of the pieces in which it was sent; 0 for one that was sent as a file.
        ended: the answer is complete.
        cut: what the stream was reset for, or None.
        body_started, body_paused: of the request's body.
    """

    def __init__(self, *, high_water: int | None = None, hold_files: bool = False) -> None:
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.informational: list[ResponseHead] = []
        self.body = bytearray()
        self.chunks: list[int] = []
        self.ended = False
        self.cut: Exception | None = None
        self.trailers: Fields | None = None
        self.body_started = False
        self.body_paused = False
        self._high_water = high_water
        self._undrained = 0
        self._hold_files = hold_files
        self._file: tuple[int, int, int, FileDone] | None = None

    @property
    def status(self) -> int:
        """Of the final answer, 0 before it."""
        return 0 if self.head is None else self.head.status

    def field(self, name: str) -> str | None:
        """The first value of the answer's field `name`, or None."""
        assert self.head is not None, "there is no answer yet"
        value = get(self.head.fields, name.lower().encode())
        return None if value is None else value.decode("latin-1")

    def field_lines(self, name: str) -> list[str]:
        """Every value of the answer's field `name`."""
        assert self.head is not None, "there is no answer yet"
        return [value.decode("latin-1") for value in get_all(self.head.fields, name.lower().encode())]

    # -- what a client does ---------------------------------------------------------------------------------------

    def drain(self) -> None:
        """The client has taken everything."""
        self._undrained = 0
        if self.exchange is not None and self.exchange.paused:
            self.exchange.resume_answer()

    def release_file(self) -> None:
        """The client takes the file that was held back."""
        held, self._file = self._file, None
        assert held is not None, "no file is held"
        self._copy_file(*held)

    def leave(self) -> None:
        """The client goes away."""
        assert self.exchange is not None
        error = ClientGone("the client left")
        self.cut = error
        self.exchange.lost(error)
        self._drop_file(error)

    # -- Stream ---------------------------------------------------------------------------------------------------

    def send_informational(self, head: ResponseHead) -> None:
        assert self.head is None, "an informational answer after the final one"
        self.informational.append(head)

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        assert self.head is None, "a second head"
        assert self.cut is None, "a head after a reset"
        self.head = head

    def send_data(self, chunk: bytes) -> None:
        self._check_open()
        assert chunk, "an empty chunk"
        self.body += chunk
        self.chunks.append(len(chunk))
        self._undrained += len(chunk)
        if self._high_water is not None and self._undrained > self._high_water and self.exchange is not None:
            self.exchange.pause_answer()

    def send_end(self, trailers: Fields | None) -> None:
        self._check_open()
        self.trailers = trailers
        self._finish()

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        self.send_head(exchange, head)
        self.body += body
        self._finish()

    def send_file(self, descriptor: int, offset: int, count: int, done: FileDone) -> None:
        self._check_open()
        assert self._file is None, "a file while another is being sent"
        assert count > 0, "an empty part of a file"
        if self._hold_files:
            self._file = (descriptor, offset, count, done)
        else:
            self._copy_file(descriptor, offset, count, done)

    def send_from(self, divert: Callable[[], int], count: int, moved: Callable[[], None], done: FileDone) -> bool:
        return False

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        raise AssertionError("this stream cannot be upgraded")

    def reset(self, error: Exception) -> None:
        self.cut = error
        self._drop_file(error)

    def start_body(self) -> None:
        self.body_started = True

    def pause_body(self) -> None:
        self.body_paused = True

    def resume_body(self) -> None:
        self.body_paused = False

    # -- the rest -------------------------------------------------------------------------------------------------

    def _copy_file(self, descriptor: int, offset: int, count: int, done: FileDone) -> None:
        data = os.pread(descriptor, count, offset)
        self.body += data
        self.chunks.append(0)
        done(None if len(data) == count else OSError("the file ended early"))

    def _drop_file(self, error: Exception) -> None:
        held, self._file = self._file, None
        if held is not None:
            held[3](error)

    def _check_open(self) -> None:
        assert self.head is not None, "a body before the head"
        assert not self.ended, "a body after the end"
        assert self.cut is None, "a body after a reset"

    def _finish(self) -> None:
        assert self.head is not None and self.exchange is not None
        self.ended = True
        length = self.head.content_length
        without_body = self.exchange.request.method == b"HEAD" or self.head.status in (204, 304)
        if without_body:
            assert not self.body, "a body where there is none"
        elif length is not None:
            assert len(self.body) == length, f"{len(self.body)} bytes of body, {length} announced"
        self.exchange.ended()


def record_exchange(
    method: bytes = b"GET",
    target: bytes = b"/",
    fields: Fields | None = None,
    *,
    stream: FakeStream | None = None,
    content_length: int | None = 0,
) -> tuple[Exchange, FakeStream]:
    """One exchange over a `FakeStream`, to be given to a handler."""
    stream = stream or FakeStream()
    request = RequestHead(
        method,
        target,
        [(b"Host", b"example.org"), *(fields or ())],
        authority=b"example.org",
        content_length=content_length,
    )
    peer = Peer("127.0.0.1", 40000, "127.0.0.1", 8000)
    exchange = Exchange(request, peer, stream, 0.0, 1 << 30)
    stream.exchange = exchange
    return exchange, stream


class FakeLoop:
    """As much of a loop as connections use: what is to be called soon is called by `run`."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._now = 0.0

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Run `callback` when `advance` has come so far."""
        self._later.append((self._now + delay, lambda: callback(*args)))

    def advance(self, seconds: float) -> None:
        """Let time go on, and run what is due."""
        self._now += seconds
        due = [call for at, call in self._later if at <= self._now]
        self._later = [entry for entry in self._later if entry[0] > self._now]
        for call in due:
            call()
        self.run()

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._ready.append((callback, args))

    def run(self) -> None:
        """Call what is to be called soon, and what that wants called, until nothing is left."""
        while self._ready:
            callback, args = self._ready.popleft()
            callback(*args)


class FakeTransport(asyncio.Transport):
    """A transport in memory that holds its protocol to what asyncio and uvloop allow.

    The peer takes all that is written at once, unless `slow`; then `take` is what it takes.

    Attributes:
        sent: what the peer has taken.
        slow: what is written stays in the buffer; above 64 KiB the protocol is paused.
        reading: False while the protocol has paused it.
        wrote_eof: the sending side was closed.
        closed, aborted: how the protocol ended the connection.
        writes: how many calls of `write` there were.
    """

    def __init__(self, protocol: asyncio.Protocol, loop: FakeLoop, **extra: Any) -> None:
        super().__init__({"peername": ("192.0.2.7", 50_000), "sockname": ("127.0.0.1", 8000), **extra})
        self.sent = bytearray()
        self.slow = False
        self.reading = True
        self.wrote_eof = False
        self.closed = False
        self.aborted = False
        self.writes = 0
        self._protocol = protocol
        self._loop = loop
        self._buffer = bytearray()
        self._paused = False
        self._lost = False
        self._eof = False
        self._high, self._low = 65_536, 16_384
        protocol.connection_made(self)
        loop.run()

    # -- what the peer does ---------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Deliver `data`, as one read."""
        assert self.reading and not self._eof, "data while reading is paused or after the end"
        if not self.is_closing():
            self._protocol.data_received(data)
        self._loop.run()

    def receive_eof(self) -> None:
        """The peer sends no more."""
        assert self.reading, "an end while reading is paused"
        self._eof = True
        if not self.is_closing() and not self._protocol.eof_received():
            self.close()
        self._loop.run()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self._lose(error)
        self._loop.run()

    def take(self, count: int | None = None) -> None:
        """The peer takes `count` bytes of what waits for it, or all."""
        size = len(self._buffer) if count is None else count
        self.sent += self._buffer[:size]
        del self._buffer[:size]
        if self._paused and len(self._buffer) <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        if self.closed and not self._buffer:
            self._lose(None)
        self._loop.run()

    def pop_sent(self) -> bytes:
        """What the peer has taken since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data

    # -- asyncio.Transport ----------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes | bytearray | memoryview), data
        assert not self.wrote_eof, "a write after write_eof"
        self.writes += 1
        if self._lost or self.is_closing():
            return
        if not self.slow and not self._buffer:
            self.sent += data
            return
        self._buffer += data
        if len(self._buffer) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.wrote_eof = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65_536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True
        if not self._buffer:
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.aborted = True
        self._buffer.clear()
        self._loop.call_soon(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._buffer.clear()
            self._protocol.connection_lost(error)
