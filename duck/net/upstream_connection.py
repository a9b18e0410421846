"""A connection to a backend that speaks HTTP/1.1: one exchange at a time, kept for the next while both sides are whole.

IDLE ──send──> HEAD ──final head──> BODY ──end──> IDLE, when the request was sent to its end as well
                └──101──> TUNNEL
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final, Protocol, cast

from duck.exceptions import BackendCut, BackendError, BackendUnreachable, ProtocolError
from duck.net.byte_stream import ByteStream
from duck.net.splice import can_splice
from duck.wire.framing import ChunkedReader
from duck.wire.h1 import response_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.interfaces import DuplexReceiver
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

IDLE: Final = "idle"
HEAD: Final = "head"
BODY: Final = "body"
DONE: Final = "done"
TUNNEL: Final = "tunnel"
CLOSED: Final = "closed"

MAX_HEAD_BYTES: Final = 65_536
MAX_EARLY_BYTES: Final = 65_536
MAX_UNREAD_BYTES: Final = 1 << 20


class UpstreamCall(Protocol):
    """What one request to a backend is told.

    `upstream_informational`*, then `upstream_answer`, or `upstream_head`, `upstream_data`*, `upstream_end`, or
    `upstream_upgraded`; or `upstream_lost` before any of these was the last.
    """

    def upstream_informational(self, head: ResponseHead) -> None:
        """A 1xx answer other than 101."""

    def upstream_answer(self, head: ResponseHead, body: bytes) -> None:
        """Head and body, complete, at once; others may have the same head (`is_shared`)."""

    def upstream_head(self, head: ResponseHead) -> None:
        """The head of an answer whose body follows, or has no bytes."""

    def upstream_data(self, chunk: bytes) -> None:
        """The next bytes of its body, without the framing of chunks; never empty."""

    def upstream_end(self, trailers: Fields | None) -> None:
        """The answer is complete; `trailers` are those that may be passed on (RFC 9110 §6.5.1)."""

    def upstream_upgraded(self, head: ResponseHead) -> None:
        """101: the connection is a Duplex from now on."""

    def upstream_lost(self, error: BackendError) -> None:
        """The connection has ended, or broken the protocol, before the answer was complete."""

    def upstream_pause(self) -> None:
        """The backend is slow to take the request's body."""

    def upstream_resume(self) -> None:
        """The backend takes more of it."""


class UpstreamConnection(ByteStream):
    """One kept connection to a backend."""

    __slots__ = (
        "_buffer",
        "_call",
        "_chunks",
        "_keep_alive",
        "_left",
        "_method",
        "_name",
        "_on_idle",
        "_on_lost",
        "_receiver",
        "_sent",
        "_state",
        "_until_close",
        "calls",
    )

    def __init__(
        self,
        name: str,
        on_idle: Callable[[UpstreamConnection], None],
        on_lost: Callable[[UpstreamConnection, Exception], None],
    ) -> None:
        ByteStream.__init__(self, None)
        self._name = name
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._state = IDLE
        self._buffer = b""
        self._call: UpstreamCall | None = None
        self._method = b"GET"
        self._chunks: ChunkedReader | None = None
        self._left = 0
        self._until_close = False
        self._keep_alive = True
        self._sent = True
        self._receiver: DuplexReceiver | None = None
        self.calls = 0

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._on_idle(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is BODY:
            self._read_body(data)
        elif state is HEAD:
            if self._buffer:
                data = self._buffer + data
                self._buffer = b""
            try:
                self._read_head(data)
            except ProtocolError as error:
                self._fail(BackendError(f"{self._name} sent no valid answer: {error}", backend=self._name))
        elif state is TUNNEL:
            if self._receiver is not None:
                self._receiver.duplex_data(data)
            else:
                self._buffer += data
                if len(self._buffer) > MAX_EARLY_BYTES:
                    self.pause_reading()
        else:
            # Bytes nobody asked for: whatever they are, the next answer on this connection could not be trusted.
            self._fail(BackendCut(f"{self._name} sent bytes outside of an answer", backend=self._name))

    def eof_received(self) -> bool:
        if self._state is TUNNEL:
            if self._receiver is not None:
                self._receiver.duplex_eof()
            else:
                self._keep_alive = False
            return True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and (self._state is HEAD or self._state is BODY):
            # The request could not be written any further. What the backend said before it closed may wait unread: an
            # early refusal, as a rule.
            said = _unread(self._transport)
            if said:
                self.data_received(said)
        self._transport = None
        if self._state is CLOSED:
            return
        if self._state is TUNNEL:
            self._state = CLOSED
            receiver, self._receiver = self._receiver, None
            self._on_lost(self, BackendUnreachable("the tunnel ended", backend=self._name))
            if receiver is not None:
                receiver.duplex_lost(error)
            return
        if self._state is BODY and self._until_close and error is None:
            self._ended(None)
            return
        what = f": {error}" if error else ""
        if self._state is BODY:
            self._fail(BackendCut(f"{self._name} closed its connection within an answer{what}", backend=self._name))
        else:
            self._fail(
                BackendUnreachable(
                    f"{self._name} closed its connection without an answer{what}",
                    backend=self._name,
                    retryable=not self._buffer,
                )
            )

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.duplex_pause()
        elif self._call is not None:
            self._call.upstream_pause()

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.duplex_resume()
        elif self._call is not None:
            self._call.upstream_resume()

    # -- for the pool and the call --------------------------------------------------------------------------------

    def send(self, call: UpstreamCall, method: bytes, data: bytes, *, complete: bool) -> None:
        """Start an exchange: `data` is the head and what is there of the body; `complete` when that is all."""
        assert self._state is IDLE and self._transport is not None
        self._state = HEAD
        self._call = call
        self._method = method
        self._sent = complete
        self.calls += 1
        self._transport.write(data)

    def send_body(self, data: bytes) -> None:
        """Send more of the request's body, framed already."""
        if self._transport is not None:
            self._transport.write(data)

    def body_sent(self) -> None:
        """The request's body is complete."""
        self._sent = True
        if self._state is DONE:
            self._release()

    def close(self) -> None:
        """End the connection, telling its call nothing: a tunnel after what was written, anything else at once.

        How long the backend may take to take that, the tunnel knows.
        """
        self._call = None
        if self._state is TUNNEL:
            if self._transport is not None:
                self._transport.close()
            return
        if self._state is not CLOSED:
            self._state = CLOSED
            self._on_lost(self, BackendUnreachable("closed", backend=self._name))
        if self._transport is not None:
            self._transport.abort()

    @property
    def left_to_splice(self) -> int:
        """Bytes of the answer that could come by `divert`; 0 where they could not."""
        if self._state is BODY and self._chunks is None and not self._until_close and can_splice(self._transport):
            return self._left
        return 0

    def divert(self) -> int:
        """Hand the rest of the answer over: a descriptor to read `left_to_splice` bytes from, the caller's to close."""
        assert self._transport is not None
        self.pause_reading()
        return os.dup(self._transport.get_extra_info("socket").fileno())

    def diverted(self) -> None:
        """The rest of the answer has been read from the descriptor."""
        self._left = 0
        # What lies behind the answer the loop would tell of later, when it may pass for the next answer's beginning.
        if self._keep_alive and self._has_more():
            self._keep_alive = False
        self._ended(None)

    def _has_more(self) -> bool:
        """Whether bytes, or the connection's end, wait in the kernel."""
        assert self._transport is not None
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as peeked:
            try:
                peeked.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                pass
        return True

    @property
    def is_usable(self) -> bool:
        """Whether the connection may take an exchange."""
        return self._state is IDLE and self._transport is not None and not self._transport.is_closing()

    # -- answers --------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > MAX_HEAD_BYTES:
                    raise ProtocolError("a head that is too long", 502)
                # Nothing that follows a bare LF could make it part of a head: say so now, not at a deadline.
                if data.count(b"\n") != data.count(b"\r\n"):
                    raise ProtocolError("a bare LF in the head", 502)
                self._buffer = data
                return
            call = self._call
            assert call is not None
            facts = response_facts(data[: end + 2], self._method)
            data = data[end + 4 :]
            head = facts.head
            status = facts.status
            if status == 101:
                self._state = TUNNEL
                self._buffer = data
                self._call = None
                call.upstream_upgraded(head.copy())
                return
            if status < 200:
                call.upstream_informational(head.copy())
                if not data:
                    return
                continue
            self._keep_alive = facts.keep_alive
            length = facts.length
            if length is not None and not facts.chunked:
                size = len(data)
                if size == length:
                    self._state = DONE
                    self._call = None
                    call.upstream_answer(head, data)
                    self._release_if_sent()
                    return
                if size > length:
                    self._keep_alive = False  # bytes after the answer: nobody asked for them
                    self._state = DONE
                    self._call = None
                    call.upstream_answer(head, data[:length])
                    self._release_if_sent()
                    return
                self._left = length
            self._state = BODY
            self._chunks = ChunkedReader(status=502) if facts.chunked else None
            self._until_close = length is None and not facts.chunked
            call.upstream_head(head.copy())
            if data and self._state is BODY:
                self._read_body(data)
            return

    def _read_body(self, data: bytes) -> None:
        call = self._call
        if call is None:
            return
        if self._chunks is not None:
            try:
                body = self._chunks.feed(data)
            except ProtocolError as error:
                self._fail(BackendCut(f"{self._name} sent a malformed answer: {error}", backend=self._name))
                return
            if body:
                call.upstream_data(body)
            if self._chunks is not None and self._chunks.done:
                if self._chunks.rest:
                    self._keep_alive = False
                trailers = self._chunks.trailers
                self._chunks = None
                self._ended(trailers)
        elif self._until_close:
            call.upstream_data(data)
        else:
            left = self._left - len(data)
            if left < 0:
                data = data[:left]
                self._keep_alive = False
                left = 0
            self._left = left
            call.upstream_data(data)
            if left == 0:
                self._ended(None)

    def _ended(self, trailers: Fields | None) -> None:
        call, self._call = self._call, None
        self._state = DONE
        if call is not None:
            call.upstream_end(trailers)
        self._release_if_sent()

    def _release_if_sent(self) -> None:
        if self._state is not DONE:
            return
        if self._sent:
            self._release()
        else:
            # Answered before the request was sent whole: what the backend still reads of it is unknown.
            self.close()

    def _release(self) -> None:
        transport = self._transport
        if not self._keep_alive or transport is None or transport.is_closing():
            self.close()
            return
        self._state = IDLE
        if self._paused:
            self.resume_reading()
        self._on_idle(self)

    def _fail(self, error: BackendError) -> None:
        if self._state is CLOSED:
            return
        self._state = CLOSED
        call, self._call = self._call, None
        if self._transport is not None:
            self._transport.abort()
        self._on_lost(self, error)
        if call is not None:
            call.upstream_lost(error)

    # -- Duplex ---------------------------------------------------------------------------------------------------

    def connect(self, receiver: DuplexReceiver) -> None:
        """Deliver to `receiver`, first what came with the 101."""
        if self._transport is None:
            receiver.duplex_lost(None)
            return
        self._receiver = receiver
        early, self._buffer = self._buffer, b""
        self.resume_reading()
        if early:
            receiver.duplex_data(early)
        if not self._keep_alive:
            receiver.duplex_eof()


def _unread(transport: asyncio.Transport | None) -> bytes:
    """What lies in the socket of a connection that failed for writing; at most `MAX_UNREAD_BYTES`."""
    raw = transport.get_extra_info("socket") if transport is not None else None
    data = b""
    if raw is not None and raw.fileno() >= 0 and os.name == "posix":
        with contextlib.suppress(OSError):
            while len(data) < MAX_UNREAD_BYTES and (piece := os.read(raw.fileno(), 65_536)):
                data += piece
    return data
