"""For tests, Duck's own and its users': exchanges without a socket.

`record_exchange` makes one, to be handed to a handler; the `FakeStream` beside it tells what was answered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from duck.exceptions import ClientGone
from duck.net.exchange import Exchange
from duck.net.peer import Peer
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
