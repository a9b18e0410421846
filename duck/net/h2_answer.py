"""The answering half of a stream of HTTP/2: what is sent, how far its client's window takes it, and what cuts it.

`Http2Stream` has the other half: what is received, deadlines, the end of both, and what comes after an upgrade.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone
from duck.net.clock import NEVER
from duck.net.exchange import READING
from duck.net.faults import UNREADABLE, answer_too_long, answer_too_short, refusal
from duck.net.h2_file import FileTurns
from duck.wire.answer import CHUNKED, LENGTH, NO_BODY, field_block
from duck.wire.fields import render_fields
from duck.wire.h2_frames import INTERNAL_ERROR
from duck.wire.h2_stream import StreamState
from duck.wire.hpack import encode_lines, encode_status
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.exceptions import ProtocolError
    from duck.net.exchange import Exchange
    from duck.net.h2_connection import Http2ServerConnection
    from duck.net.h2_duplex import Http2Duplex
    from duck.wire.fields import Fields
    from duck.wire.head import RequestHead, ResponseHead

# What waits to be sent of one stream: above the one its producer is paused, below the other it goes on.
HIGH_BYTES: Final = 65_536
LOW_BYTES: Final = 16_384


class Http2Answer(StreamState):
    """What a `Stream` does with an answer.

    Attributes:
        exchange: what is carried, until its end.
        duplex: what became of it.
        key: of a WebSocket's handshake, made here; empty for other requests.
    """

    __slots__ = (
        "_answer_paused",
        "_connection",
        "_file",
        "_framing",
        "_left_to_send",
        "_send_by",
        "duplex",
        "exchange",
        "key",
    )

    def __init__(self, connection: Http2ServerConnection, stream_id: int, send_window: int) -> None:
        StreamState.__init__(self, stream_id, send_window)
        self._connection = connection
        self.exchange: Exchange | None = None
        self.duplex: Http2Duplex | None = None
        self.key = b""
        self._framing = NO_BODY
        self._left_to_send = 0
        self._answer_paused = False
        self._file: FileTurns | None = None
        self._send_by = NEVER

    def _check_finished(self) -> None:
        """The exchange may be over."""
        raise NotImplementedError

    def _drop_kept(self) -> None:
        """Nobody takes the request's body any more."""
        raise NotImplementedError

    # -- what the connection says ---------------------------------------------------------------------------------

    def emitted(self) -> None:
        waiting = self.pending_bytes
        if waiting or self.refills:
            self._await_taken()
        else:
            self._send_by = NEVER
        if self._answer_paused and waiting <= LOW_BYTES:
            self._answer_paused = False
            if self.duplex is not None:
                self.duplex.resume()
            elif self.exchange is not None:
                self._connection.server.caught_up(self.exchange)
        file = self._file
        if file is not None and not waiting and not file.left:
            self._file = None
            file.done(None)

    def refill(self) -> None:
        file = self._file
        if file is None or not file.left:
            return
        try:
            data = file.read()
        except OSError as error:
            self._drop_file(error, self.exchange)
            return
        self.refills = file.left > 0
        self.put(data)

    @property
    def is_answering(self) -> bool:
        """Whether the client has begun to get its answer, and not got all of it."""
        return self.exchange is not None and self.exchange.is_answered

    def _await_taken(self) -> None:
        self._send_by = self._connection.clock.now + self._connection.limits.send_timeout_s
        self._connection.due(self._send_by)

    # -- an exchange's answer -------------------------------------------------------------------------------------

    def send_informational(self, head: ResponseHead) -> None:
        if not self.closed:
            self._connection.http2.send_head(self, encode_status(head.status) + encode_lines(head.block))
            self._connection.flush_soon()

    def _head_block(self, request: RequestHead, head: ResponseHead) -> bytes:
        block, framing = field_block(request, head, self._connection.clock.date)
        self._framing = framing
        if framing == LENGTH:
            self._left_to_send = head.content_length or 0
        return block

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        if self.closed:
            return
        if self.key and head.status < 300:
            self._refuse_tunnel(exchange)
            return
        self._connection.http2.send_head(self, self._head_block(exchange.request, head))
        self._connection.flush_soon()

    def send_data(self, data: bytes) -> None:
        if self.closed or self._framing == NO_BODY:
            return
        if self._framing == LENGTH:
            left = self._left_to_send - len(data)
            if left < 0:
                data = answer_too_long(data, left)
                left = 0
                if not data:
                    return
            self._left_to_send = left
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes of the stream, in their turn."""
        connection = self._connection
        connection.http2.send_data(self, data)
        if self.pending_bytes:
            if self._send_by == NEVER:
                self._await_taken()
            if self.pending_bytes > HIGH_BYTES and not self._answer_paused:
                self._answer_paused = True
                if self.duplex is not None:
                    self.duplex.pause()
                elif self.exchange is not None:
                    connection.server.held_up(self.exchange)
        connection.flush_soon()

    def send_end(self, trailers: Fields | None) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if self.closed or self.local_ended:
            self._check_finished()
            return
        if self._framing == LENGTH and self._left_to_send:
            exchange.error = answer_too_short(self._left_to_send)
            self.reset(exchange.error)
            return
        last_block = b""
        if trailers and self._framing == CHUNKED and exchange.request.accepts_trailers:
            last_block = encode_lines(render_fields(trailers))
        self._connection.http2.send_end(self, last_block)
        self._connection.flush_soon()

    def send_answer(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        if self.closed:
            return
        if self.key and head.status < 300:
            self._refuse_tunnel(exchange)
            return
        if head.content_length is None and exchange.request.method != b"HEAD" and head.status not in (204, 304):
            head.content_length = len(body)
        block = self._head_block(exchange.request, head)
        http2 = self._connection.http2
        if self._framing == NO_BODY or (self._framing == LENGTH and not body and not head.content_length):
            http2.send_head(self, block, end=True)
        elif head.content_length != len(body):
            http2.send_head(self, block)
            if body:
                self.send_data(body)
            self.send_end(None)
        else:
            http2.send_whole(self, block, body)
            if self.pending_bytes and self._send_by == NEVER:
                self._await_taken()
        self._connection.flush_soon()

    def send_file(self, descriptor: int, offset: int, count: int, done: Callable[[Exception | None], None]) -> None:
        if self.closed:
            done(ClientGone("the client left"))
            return
        if self._framing != LENGTH:
            done(None)
            return
        self._left_to_send -= count
        self._file = FileTurns(descriptor, offset, count, done)
        self.refills = True
        self._await_taken()
        self._connection.http2.enqueue(self)
        self._connection.flush_soon()

    def send_from(
        self,
        divert: Callable[[], int],
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> bool:
        return False  # frames are between the bytes

    def reset(self, error: Exception) -> None:
        """End the stream so that the client sees the answer as incomplete."""
        self._connection.http2.reset(self, INTERNAL_ERROR)
        exchange, self.exchange = self.exchange, None
        self._drop_file(error, exchange)
        self._drop_kept()
        if exchange is not None:
            if exchange.request_state is READING:
                exchange.body_failed(error)
            exchange.ended()
        self._connection.forget(self)
        self._connection.flush_soon()

    def _drop_file(self, error: Exception, exchange: Exchange | None) -> None:
        self.refills = False
        file, self._file = self._file, None
        if file is not None:
            if exchange is not None:
                exchange.bytes_sent -= file.left
            file.done(error)

    def refuse(self, error: ProtocolError) -> int:
        """Answer a request that could not be understood; gives the length of the answer's body."""
        head, body = refusal(error)
        block = self._head_block(UNREADABLE, head)
        self._connection.http2.send_whole(self, block, body)
        return len(body)

    def _refuse_tunnel(self, exchange: Exchange) -> None:
        """An ordinary answer with 2xx would say that the tunnel is there."""
        self.key = b""
        exchange.status = 501
        head, body = plain_error(501, "No WebSocket is answered here.", False)
        exchange.bytes_sent = len(body)
        self.send_answer(exchange, head, body)
        self._framing = NO_BODY
