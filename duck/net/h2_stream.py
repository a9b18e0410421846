"""One stream of an HTTP/2 connection: a `Stream` for one exchange, and what begins the `Duplex` of a WebSocket.

    exchange ──answered, and its body over──> forgotten      both ends in whatever order, or either side resets it
       └──────upgrade──> `Http2Duplex` ──both directions over──> forgotten

As `ServerConnection` is for HTTP/1, so one file holds every transition here: what is sent (`h2_answer`), a body's pace
(`request_body`), why an exchange ends early (`faults`) and what comes after an upgrade (`h2_duplex`) have files of
their own.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendError, ClientGone, ProtocolError
from duck.net.clock import NEVER
from duck.net.exchange import CUT, READING, SENT
from duck.net.faults import (
    answer_not_taken,
    body_too_large,
    body_too_slow,
    refuse_body,
)
from duck.net.h2_answer import Http2Answer
from duck.net.h2_duplex import Http2Duplex
from duck.net.request_body import BodyPace
from duck.wire.fields import get, render_fields
from duck.wire.h2_frames import CANCEL, NO_ERROR
from duck.wire.h2_head import with_key
from duck.wire.hpack import encode_lines, encode_status
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.net.h2_connection import Http2ServerConnection
    from duck.net.interfaces import Duplex
    from duck.wire.fields import Fields
    from duck.wire.head import RequestHead, ResponseHead

logger = logging.getLogger("duck.net")


_CONTINUE: Final = encode_status(100)
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Http2Stream(Http2Answer):
    """Carries one exchange.

    Attributes:
        deadline: until which the client has to send, or to take, the next bytes.
    """

    __slots__ = (
        "_body_by",
        "_kept",
        "_pace",
        "_touched",
        "_trailers",
        "_whole",
    )

    def __init__(self, connection: Http2ServerConnection, stream_id: int, send_window: int) -> None:
        Http2Answer.__init__(self, connection, stream_id, send_window)
        self._kept: bytes | bytearray = b""  # of the body, not delivered yet
        self._touched = False  # something was kept in this turn
        self._whole = False  # the body was received
        self._trailers: Fields | None = None
        self._pace: BodyPace | None = None
        self._body_by = NEVER

    # -- what happens to it -------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self.exchange is None and self.duplex is None:
            self._connection.http2.consumed(self, len(data))  # answered, and nobody wants it
            return
        if not self._kept:
            self._kept = data
        else:
            # Small frames become one piece: a byte each would take forty in lists of them.
            if not isinstance(self._kept, bytearray):
                self._kept = bytearray(self._kept)
            self._kept += data
        if not self._touched:
            self._touched = True
            self._connection.touched.append(self)

    def received_end(self, fields: Fields | None) -> None:
        self._whole = True
        self._trailers = fields
        if not self._touched:
            self._touched = True
            self._connection.touched.append(self)

    def deliver(self) -> None:
        """Hand over what has been received in this turn, or was kept before."""
        self._touched = False
        duplex = self.duplex
        if duplex is not None:
            data = bytes(self._kept)
            self._kept = b""
            duplex.received(data, self._whole)
            return
        exchange = self.exchange
        pace = self._pace
        if exchange is None:
            self._drop_kept()
            return
        if exchange.request_state is not READING or pace is None or pace.paused:
            return
        data = bytes(self._kept)
        if data:
            self._kept = b""
            size = len(data)
            self._connection.http2.consumed(self, size)
            if exchange.bytes_received + size > exchange.max_body_bytes:
                self._abort_body(body_too_large(exchange.max_body_bytes))
                return
            exchange.bytes_received += size
            pace.count(size)
        if self._whole:
            self._body_by = NEVER
        else:
            self._await_body(pace)
        sink = exchange.body_sink
        if data and sink is not None:
            sink.data(data)
        if self._whole and exchange.request_state is READING and not pace.paused:
            exchange.body_ended(self._trailers)
            self._check_finished()

    def lose(self, error: Exception) -> None:
        """The client has given it up, or is gone."""
        exchange, self.exchange = self.exchange, None
        duplex = self.duplex
        self._drop_kept()
        self._drop_file(error, exchange)
        if exchange is not None and duplex is None:
            exchange.bytes_sent -= self.pending_bytes
            if exchange.answer_state is SENT and not self.local_ended:
                exchange.answer_state = CUT  # its handler was ready with it, its client was not
                exchange.error = exchange.error or error
            exchange.lost(error)
            exchange.ended()
        self._connection.forget(self)
        if duplex is not None:
            duplex.lost(error)
            if exchange is not None:
                exchange.ended()

    def sent_end(self) -> None:
        self._send_by = NEVER
        if self.duplex is not None:
            self.duplex.sent_end()
        elif self.exchange is not None:
            self._check_finished()
        else:
            self._connection.http2.reset(self, NO_ERROR)  # refused: the rest of its request is not wanted

    # -- deadlines ------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When the client has to have sent, or taken, something."""
        return min(self._body_by, self._send_by)

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if self._send_by <= now:
            error = answer_not_taken(self._connection.limits.send_timeout_s)
            self._connection.http2.reset(self, CANCEL)
            self.lose(error)
        else:
            self._body_by = NEVER
            if self._pace is not None and not self._pace.paused:
                self._abort_body(body_too_slow())

    def _await_body(self, pace: BodyPace) -> None:
        self._body_by = pace.deadline(self._connection.clock.time(), self._connection.limits)
        self._connection.due(self._body_by)

    # -- the request's body (Stream) ------------------------------------------------------------------------------

    def start_body(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        request = exchange.request
        if request.content_length is not None and request.content_length > exchange.max_body_bytes:
            self._abort_body(body_too_large(exchange.max_body_bytes))
            return
        self._pace = pace = BodyPace()
        pace.start(self._connection.clock.time())
        connection = self._connection
        if not self._whole:
            self._await_body(pace)
            connection.http2.widen(self)
            if request.expects_continue and not self._kept and not exchange.is_answered:
                connection.http2.send_head(self, _CONTINUE)
            connection.flush_soon()
        self.deliver()

    def pause_body(self) -> None:
        if self._pace is not None:
            self._pace.paused = True
            self._body_by = NEVER

    def resume_body(self) -> None:
        pace = self._pace
        if pace is None or not pace.paused:
            return
        pace.start(self._connection.clock.time())
        if not self._whole:
            self._await_body(pace)
        self.deliver()
        self._connection.flush_soon()

    def _abort_body(self, error: ProtocolError) -> None:
        """The body cannot be had: whoever takes it answers, and the rest is dropped."""
        exchange = self.exchange
        if exchange is None:
            return
        self._body_by = NEVER
        self._drop_kept()
        exchange.body_failed(error)
        if self.exchange is not exchange:
            return
        if exchange.answer_state is SENT:
            self._check_finished()
        else:
            refuse_body(exchange, error)

    def _drop_kept(self) -> None:
        """Give back, too, what it took of the window that all streams share."""
        size = len(self._kept)
        if size:
            self._kept = b""
            self._connection.http2.consumed(self, size)

    def _check_finished(self) -> None:
        """The exchange is over when its answer was sent and nobody takes the body any more."""
        exchange = self.exchange
        if exchange is None or exchange.answer_state is not SENT or not (self.local_ended or self.closed):
            return
        if exchange.request_state is READING:
            return  # its handler still takes the body: it may end in order
        self.exchange = None
        self._drop_kept()
        if exchange.request.method == b"HEAD":
            exchange.bytes_sent = 0
        if not self.closed:
            # An answer that did not wait for the whole request: what is left of that is not wanted (RFC 9113 §8.1).
            self._connection.http2.reset(self, NO_ERROR)
        exchange.ended()
        self._connection.forget(self)

    # -- WebSocket (RFC 8441) -------------------------------------------------------------------------------------

    def ask_for_tunnel(self, request: RequestHead) -> RequestHead:
        """`request`, an extended CONNECT, as the handshake of HTTP/1 that it stands for."""
        self.key = base64.b64encode(os.urandom(16))
        return with_key(request, self.key)

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        exchange = self.exchange
        if exchange is None or self.closed:
            raise ClientGone("the client left before the upgrade")
        accept = base64.b64encode(hashlib.sha1(self.key + _WEBSOCKET_GUID, usedforsecurity=False).digest())
        if get(head.fields, b"sec-websocket-accept") != accept:
            exchange.error = BackendError("the backend's Sec-WebSocket-Accept does not belong to the request")
            exchange.status = 502
            exchange.answer_state = SENT
            self.key = b""
            answer, body = plain_error(502, "The application behind this server did not answer.", False)
            self.send_answer(exchange, answer, body)
            raise ClientGone("the backend's answer was refused")
        fields = [pair for pair in head.fields if pair[0].lower() != b"sec-websocket-accept"]
        connection = self._connection
        connection.http2.send_head(self, encode_status(200) + encode_lines(render_fields(fields)))
        connection.http2.widen(self)
        self.duplex = Http2Duplex(self, connection)
        connection.server.tunnel_opened()
        connection.flush_soon()
        return self.duplex

    def tunnel_ended(self) -> None:
        """Both directions of the duplex are over."""
        exchange, self.exchange = self.exchange, None
        self._drop_kept()
        self._connection.forget(self)
        if exchange is not None:
            exchange.ended()
