"""The answering half of a client's HTTP/1 connection: what is sent, how it is framed, and what cuts it.

`ServerConnection` has the other half: states, requests, deadlines, and what comes after an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone
from duck.net.exchange import COMPLETE, READING, Exchange
from duck.net.faults import answer_too_long, answer_too_short
from duck.net.send_file import FileSender
from duck.net.splice import Splicer, can_splice
from duck.wire.answer import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, answer_head, informational_head
from duck.wire.framing import chunk, last_chunk
from duck.wire.head import HTTP_11

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.server import Server
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

CLOSED: Final = "closed"


class ServerAnswer:
    """What a `Stream` does with an answer, one at a time; a base, for mypyc can give it native attributes."""

    __slots__ = (
        "_buffer",
        "_cut",
        "_eof",
        "_exchange",
        "_framing",
        "_keep_alive",
        "_left_to_send",
        "_sender",
        "_server",
        "_state",
        "_transport",
    )

    def __init__(self, server: Server, state: str) -> None:
        self._server = server
        self._state = state
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._cut: ClientGone | None = None  # why Duck itself ended the connection
        self._exchange: Exchange | None = None
        self._framing = NO_BODY
        self._left_to_send = 0
        self._keep_alive = True
        self._eof = False
        self._sender: FileSender | Splicer | None = None

    def _answered(self) -> None:
        """The answer is with the transport."""
        raise NotImplementedError

    def send_informational(self, head: ResponseHead) -> None:
        exchange = self._exchange
        if self._transport is not None and exchange is not None and exchange.request.version == HTTP_11:
            self._transport.write(informational_head(head))

    def _head_bytes(self, exchange: Exchange, head: ResponseHead) -> bytes:
        # A body that was not read to its end leaves the connection where no next request can be found on it.
        keep_alive = (
            exchange.request.keep_alive
            and exchange.request_state is COMPLETE
            and not (self._eof and not self._buffer)
            and not self._server.draining
        )
        data, self._framing, self._keep_alive = answer_head(exchange.request, head, keep_alive, self._server.clock.date)
        return data

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(self._head_bytes(exchange, head))
        if self._framing == LENGTH:
            self._left_to_send = head.content_length or 0

    def send_data(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        framing = self._framing
        if framing == LENGTH:
            left = self._left_to_send - len(data)
            if left < 0:
                data = answer_too_long(data, left)
                left = 0
                self._framing = NO_BODY
            self._left_to_send = left
            if data:
                transport.write(data)
        elif framing == CHUNKED:
            if len(data) < 4096:
                transport.write(chunk(data))
            else:
                # Not `writelines`: asyncio's, in some releases of Python 3.12 and 3.13, never tells of a full buffer.
                transport.write(b"%x\r\n" % len(data))
                transport.write(data)
                transport.write(b"\r\n")
        elif framing == UNTIL_CLOSE:
            transport.write(data)

    def send_end(self, trailers: Fields | None) -> None:
        transport = self._transport
        exchange = self._exchange
        if transport is None or exchange is None:
            return
        if self._framing == CHUNKED:
            transport.write(last_chunk(trailers if exchange.request.accepts_trailers else None))
        elif self._framing == LENGTH and self._left_to_send:
            exchange.error = answer_too_short(self._left_to_send)
            self.reset(exchange.error)
            return
        self._answered()

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        if head.content_length is None and exchange.request.method != b"HEAD" and head.status not in (204, 304):
            head.content_length = len(body)
        data = self._head_bytes(exchange, head)
        framing = self._framing
        if framing == LENGTH:
            if head.content_length != len(body):
                transport.write(data)
                self._left_to_send = head.content_length or 0
                if body:
                    self.send_data(body)
                self.send_end(None)
                return
            transport.write(data + body)
        elif framing == NO_BODY:
            transport.write(data)
        else:
            raise AssertionError("a whole answer has a length")
        self._answered()

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        transport = self._transport
        if transport is None:
            done(ClientGone("the client left"))
            return
        if self._framing != LENGTH:
            done(None)
            return
        self._left_to_send -= count

        def sent(error: Exception | None) -> None:
            self._sender = None
            done(error)

        self._sender = FileSender(transport, self._server.loop, descriptor, offset, count, sent)
        self._sender.start()

    def send_from(
        self,
        divert: Callable[[], int],
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> bool:
        transport = self._transport
        if transport is None or self._framing != LENGTH or not can_splice(transport):
            return False
        self._left_to_send -= count

        def sent(error: Exception | None) -> None:
            self._sender = None
            if isinstance(error, ClientGone):
                if self._exchange is not None:
                    self._exchange.bytes_sent -= splicer.left
                self._lose(error)  # the source is whole: who reads it shall not take this for a fault of its own
            done(error)

        splicer = Splicer(transport, self._server.loop, divert(), count, moved, sent)
        self._sender = splicer
        splicer.start()
        return True

    def reset(self, error: Exception) -> None:
        """Cut the connection: an answer that cannot be completed must not look complete."""
        exchange, self._exchange = self._exchange, None
        transport = self._transport
        if exchange is not None:
            if exchange.request_state is READING:
                exchange.body_failed(error)
            exchange.ended()
        if transport is not None:
            self._state = CLOSED
            if self._framing == UNTIL_CLOSE and exchange is not None and exchange.is_answered:
                _end_by_reset(transport)
            transport.abort()

    def _lose(self, error: ClientGone) -> None:
        """The kernel says that the client is gone, before the loop does."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost(self._cut or error)
            exchange.ended()
        if self._transport is not None:
            self._transport.abort()


def _end_by_reset(transport: asyncio.Transport) -> None:
    """Have the connection end by RST: an ordinary end would complete a body that lasts until the connection's end."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
