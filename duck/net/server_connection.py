"""A client's HTTP/1 connection: bytes in, exchanges out; one at a time, answers in the order of the requests.

    HEAD ──head parsed──> BODY ──body read──> BUSY ──answered──> HEAD (keep-alive)
      │                     └─────────answered early─────────┐
      └──────────────refused──────────────────────────> LINGER ──> closed
                                             BUSY ──upgrade──> the protocol is a ClientDuplex from now on

HEAD     waiting for a request, or within its head
BODY     the request's body is read, as far as its handler wants it
BUSY     the request is complete and its answer under way; what a client pipelines meanwhile is kept, bounded
LINGER   the last answer is sent; what still comes is thrown away, so that a reset does not overtake the answer

One file holds every transition, which is why it is longer than others: a request's body (`request_body`), what is sent
(`server_answer`, `send_file`, `splice`) and what comes after an upgrade (`client_duplex`) have files of their own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from duck.exceptions import ClientGone, LimitExceeded, ProtocolError
from duck.net.client_duplex import ClientDuplex
from duck.net.clock import NEVER
from duck.net.exchange import COMPLETE, READING, SENT, Exchange
from duck.net.faults import (
    UNREADABLE,
    answer_cut,
    answer_not_taken,
    body_cut_short,
    body_too_large,
    body_too_slow,
    refusal,
    refuse_body,
)
from duck.net.h2_connection import Http2ServerConnection
from duck.net.request_body import RequestBody
from duck.net.send_file import FileSender
from duck.net.server_answer import CLOSED, ServerAnswer
from duck.net.unread import begun, unread
from duck.wire.answer import (
    answer_head,
    upgrade_head,
)
from duck.wire.h1 import check_partial_head, parse_request_head
from duck.wire.h2_frames import PREFACE

if TYPE_CHECKING:
    from duck.net.interfaces import Duplex
    from duck.net.peer import Peer
    from duck.net.server import Server
    from duck.wire.head import RequestHead, ResponseHead


logger = logging.getLogger("duck.net")

HEAD: Final = "head"
BODY: Final = "body"
BUSY: Final = "busy"
LINGER: Final = "linger"

MAX_PIPELINED_BYTES: Final = 65_536
# Of one client, answered at once: then the loop gets its turn.
MAX_IN_A_TURN: Final = 32
MAX_REPEATED_BYTES: Final = 2048
MAX_REPEATED_FIELDS: Final = 32
MAX_LINGER_BYTES: Final = 1 << 20
_PRI: Final = PREFACE[:18]  # what looks like a head of HTTP/1, with its empty line
_ANY: Final = 1 << 62  # more bytes than ever wait to be sent
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConnection(ServerAnswer):
    """One client's connection: a `Stream` for its exchanges, `Watched` by the clock.

    An `asyncio.Protocol` by its methods; with the class as its base, mypyc could give it no native attributes.
    """

    __slots__ = (
        "_after_empty_line",
        "_body",
        "_last_data",
        "_last_request",
        "_left_to_drop",
        "_next_is_due",
        "_paused_reading",
        "_pipelines",
        "_served",
        "_unsent",
        "_write_paused",
        "deadline",
        "peer",
    )

    def __init__(self, server: Server) -> None:
        ServerAnswer.__init__(self, server, HEAD)
        self._after_empty_line = False
        self._body: RequestBody | None = None
        self._left_to_drop = 0
        # The last request that was one head and nothing else, where it is short: kept for as long as the connection.
        self._last_data = b""
        self._last_request: RequestHead | None = None
        self._served = False  # a request was read
        self._pipelines = False  # more than one request was read at once
        self._next_is_due = False  # the loop will call `_next`
        self._paused_reading = False
        self._write_paused = False
        self._unsent = 0
        self.deadline = NEVER
        self.peer: Peer | None = None

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = wire = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.peer = server.peer_of(wire)
        limits = server.limits
        # Whose TLS handshake outlasted the end of the wait for idle ones has its request ready.
        self.deadline = server.clock.time() + (limits.linger_s if server.closes_idle else limits.keep_alive_timeout_s)
        if not server.opened(self):
            self._refuse(ProtocolError("too many connections; try again soon", 503), None)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is HEAD:
            if self._write_paused:
                # Its answer would only wait behind those that the client does not take.
                self._keep(data)
                return
            if self._buffer:
                data = self._buffer + data
            self._read_heads(data)
        elif state is BODY:
            self._read_body(data)
        elif state is BUSY:
            self._keep(data)
        elif state is LINGER:
            self._left_to_drop -= len(data)
            if self._left_to_drop < 0:
                self._close()

    def eof_received(self) -> bool:
        self._eof = True
        state = self._state
        if state is BUSY and self._exchange is not None:
            # The client may only have closed its half. The answer goes on: if nobody is there any more, the first bytes
            # sent will tell. What makes the answer may want to know now, for nothing may ever be sent.
            self._server.half_closed(self._exchange)
            return True
        if state is BODY and self._exchange is not None:
            if self._exchange.request_state is not READING or (self._body is not None and self._body.paused):
                return True  # what is kept may be all of the body; whoever reads it will see
            self._body_cut_short()
            return False
        # Pipelined requests that wait for the next turn, or for the client to take their predecessors' answers.
        return state is HEAD and (self._write_paused or b"\r\n\r\n" in self._buffer)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed(self)
        self._state = CLOSED
        self.deadline = NEVER
        self._transport = None
        self._buffer = b""
        gone = self._cut or ClientGone("the client left")
        sender, self._sender = self._sender, None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if sender is not None:
                exchange.bytes_sent -= sender.left  # counted when the file was handed over
            exchange.lost(gone)
        if sender is not None:
            sender.cancel(gone)  # after whoever feeds it was told: it would take this for a fault of its source
        if exchange is not None:
            exchange.ended()

    def pause_writing(self) -> None:
        self._write_paused = True
        transport = self._transport
        if transport is None:
            return
        self._unsent = transport.get_write_buffer_size()
        self.deadline = self._server.clock.time() + self._server.limits.send_timeout_s
        if self._exchange is not None and not isinstance(self._sender, FileSender):
            self._server.held_up(self._exchange)

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._state is BUSY:
            self.deadline = NEVER
        elif self._state is BODY:
            self.deadline = NEVER
            if self._exchange is not None and self._exchange.request_state is READING:
                self._await_body()
        elif self._state is HEAD:
            self.deadline = self._server.clock.time() + self._server.limits.keep_alive_timeout_s
        elif self._state is LINGER:
            self._unsent = _ANY
            self.deadline = self._server.clock.time() + self._server.limits.linger_s
        sender = self._sender
        if isinstance(sender, FileSender):
            sender.proceed()
        elif self._exchange is not None:
            self._server.caught_up(self._exchange)
            if sender is not None:
                sender.proceed()
        elif self._state is HEAD and self._buffer:
            buffer, self._buffer = self._buffer, b""
            self._read_heads(buffer)
        elif self._state is HEAD and self._eof:
            self._close()

    # -- deadlines ------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """A deadline has passed: which one, the state tells."""
        transport = self._transport
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if self._write_paused or (unsent and (self._state is LINGER or self._state is CLOSED)):
            if unsent < self._unsent:
                self._unsent = unsent
                self.deadline = now + self._server.limits.send_timeout_s
                return
            self._cut = answer_not_taken(self._server.limits.send_timeout_s)
            transport.abort()
        elif self._state is HEAD:
            if self._buffer:
                self._refuse(LimitExceeded("the request's head came too slowly", 408), self._buffer)
            else:
                self._close()
        elif self._state is BODY:
            exchange = self._exchange
            if exchange is not None and self._body is not None and not self._body.paused:
                self._abort_body(body_too_slow())
            else:
                self.deadline = NEVER
        elif self._state is LINGER or self._state is CLOSED:
            transport.abort()
        else:
            self.deadline = NEVER

    def _await_body(self) -> None:
        """Set the deadline of the body's next piece."""
        body = self._body
        if body is not None:
            self.deadline = body.deadline(self._server.clock.time(), self._server.limits)

    # -- requests -------------------------------------------------------------------------------------------------

    def _read_heads(self, data: bytes) -> None:
        """Take the requests in `data` one after the other, until one is not answered at once."""
        server = self._server
        limits = server.limits
        count = 0
        while True:
            if data[:1] == b"\r" and data.startswith(b"\r\n"):
                # RFC 9112 §2.2: one is let pass, which some clients send behind a body; more begin no request.
                if self._after_empty_line or data.startswith(b"\r\n\r\n"):
                    self._refuse(ProtocolError("empty lines instead of a request"), data)
                    return
                self._after_empty_line = True
                data = data[2:]
            # Who asks the very same again is common among programs: it was understood once.
            request = self._last_request if data == self._last_data else None
            rest = b""
            if request is None:
                # As a rule one head is read and nothing else, and to find its end takes as long as to know its fields.
                # So the end is guessed: what has another end within is never accepted, and that one looked for then.
                end = len(data) - 4
                guessed = not self._pipelines and len(data) <= limits.max_head_bytes and data.endswith(b"\r\n\r\n")
                if not guessed:
                    end = data.find(b"\r\n\r\n", 0, limits.max_head_bytes)
                    if end < 0:
                        self._keep_partial_head(data)
                        return
                try:
                    request = parse_request_head(data[: end + 2], self.peer.scheme, max_fields=limits.max_fields)  # type: ignore[union-attr]
                    if len(request.target) > limits.max_target_bytes:
                        raise LimitExceeded("the request target is too long", 414)
                except ProtocolError as error:
                    if self._begins_http2(data):
                        return
                    if guessed and data.find(b"\r\n\r\n") < end:
                        self._pipelines = True
                        continue
                    self._refuse(error, data)
                    return
                rest = data[end + 4 :]
                if (
                    not rest
                    and end <= MAX_REPEATED_BYTES
                    and request.content_length == 0
                    and len(request.block.fields) <= MAX_REPEATED_FIELDS
                ):
                    self._last_data = data
                    self._last_request = request
            self._buffer = rest
            self._after_empty_line = False
            length = request.content_length
            self._served = True
            now = server.clock.time()
            exchange = Exchange(request, self.peer, self, now, limits.max_body_bytes)  # type: ignore[arg-type]
            self._exchange = exchange
            self.deadline = NEVER
            if length == 0:
                self._state = BUSY
                if len(rest) > MAX_PIPELINED_BYTES:
                    self._pause_reading()
                elif self._paused_reading:
                    self._resume_reading()
            else:
                self._state = BODY
                self._body = RequestBody(length)
                if rest:
                    # Nothing of the body is wanted yet; more than this need not be read before it is.
                    self._pause_reading()
            server.handle(exchange)
            # Answered within the call, and the connection is to be used again: the next request may be here already.
            count += 1
            if not self._may_go_on() or count >= MAX_IN_A_TURN:
                return  # `_next` goes on with what is there
            data = self._buffer
            self._buffer = b""

    def _begins_http2(self, data: bytes) -> bool:
        """Whether the connection begins as HTTP/2 by prior knowledge, and goes on as such (RFC 9113 §3.3)."""
        server, transport, peer = self._server, self._transport, self.peer
        if not data.startswith(_PRI) or not server.http2 or self._served or transport is None or peer is None:
            return False
        if peer.scheme == b"https":
            return False  # there ALPN says so, or not
        self._state = CLOSED
        self._transport = None
        self.deadline = NEVER
        other = Http2ServerConnection(server)
        server.switched(self, other)
        transport.set_protocol(cast("asyncio.Protocol", other))
        other.take_over(transport, peer)
        other.data_received(data)
        return True

    def _keep_partial_head(self, data: bytes) -> None:
        limits = self._server.limits
        try:
            check_partial_head(data, limits.max_head_bytes, limits.max_fields)
        except ProtocolError as error:
            self._refuse(error, data)
            return
        if self._eof:
            self._close()
            return
        if not self._buffer:
            # An empty line alone does not begin a head.
            self.deadline = self._server.clock.time() + (limits.head_timeout_s if data else limits.keep_alive_timeout_s)
        self._buffer = data
        self._resume_reading()

    def _keep(self, data: bytes) -> None:
        """What a client sends before it is wanted: pipelined requests, a body, the first bytes after an upgrade."""
        self._buffer += data
        if len(self._buffer) > MAX_PIPELINED_BYTES:
            self._pause_reading()

    # -- the request's body (for the exchange) --------------------------------------------------------------------

    def start_body(self) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        request = exchange.request
        if request.content_length is not None and request.content_length > exchange.max_body_bytes:
            self._abort_body(body_too_large(exchange.max_body_bytes))
            return
        if self._body is not None:
            self._body.start(self._server.clock.time())
        self._await_body()
        if (
            request.expects_continue
            and not self._buffer
            and not exchange.is_answered  # within the final answer it would be taken for a part of that
            and self._transport is not None
        ):
            self._transport.write(_CONTINUE)
        self._resume_reading()
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_body(data)

    def pause_body(self) -> None:
        if self._body is not None:
            self._body.paused = True
            self._pause_reading()
            self.deadline = NEVER

    def resume_body(self) -> None:
        body = self._body
        if body is None or not body.paused:
            return
        body.start(self._server.clock.time())
        self._await_body()
        self._resume_reading()
        if self._buffer and self._state is BODY:
            data, self._buffer = self._buffer, b""
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        body = self._body
        if exchange is None or body is None or exchange.request_state is not READING or body.paused:
            self._keep(data)
            return
        try:
            data = body.feed(data)
        except ProtocolError as error:
            self._abort_body(error)
            return
        if exchange.bytes_received + len(data) + body.announced > exchange.max_body_bytes:
            self._abort_body(body_too_large(exchange.max_body_bytes))
            return
        exchange.bytes_received += len(data)
        done = body.done
        if self._eof and not done:
            self._body_cut_short()
            self._close()
            return
        if done:
            self._buffer = body.rest
            self._body = None
            if self._state is BODY:
                self._state = BUSY
            if not self._write_paused:
                self.deadline = NEVER
        elif not self._write_paused:
            self._await_body()
        sink = exchange.body_sink
        if data and sink is not None:
            sink.data(data)
        if done:
            if len(self._buffer) <= MAX_PIPELINED_BYTES:
                self._resume_reading()
            exchange.body_ended(body.trailers)
            if exchange.answer_state is SENT and self._exchange is exchange:
                self._answered()

    def _body_cut_short(self) -> None:
        """The client has closed its half, and the body is not all there."""
        if self._exchange is not None:
            self._exchange.body_failed(body_cut_short())

    def _abort_body(self, error: ProtocolError) -> None:
        """The body cannot be had: whoever takes it answers, and the connection ends."""
        exchange = self._exchange
        if exchange is None:
            return
        self._keep_alive = False
        self.deadline = NEVER
        self._body = None
        exchange.body_failed(error)
        if self._exchange is not exchange:
            return
        if exchange.answer_state is SENT:
            self._answered()
        else:
            refuse_body(exchange, error)

    # -- between requests ---------------------------------------------------------------------------------------------

    def _answered(self) -> None:
        """The answer is with the transport: on to the next request, or to the end."""
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.request_state is READING:
            # Its handler still takes the body: it may end in order; no next request is read before.
            return
        self._exchange = None
        self._body = None
        if exchange.request.method == b"HEAD":
            exchange.bytes_sent = 0
        exchange.ended()
        ended = self._eof and not self._buffer
        if ended or not self._keep_alive:
            # Who did not ask for the end may have sent the next request: a close would reset it, and this answer.
            surprised = self._server.draining and exchange.request.keep_alive
            self._end(ended or (exchange.request_state is COMPLETE and not self._buffer and not surprised))
            return
        if self._server.closes_idle:
            self._end(not self._buffer)
            return
        self._state = HEAD
        if not self._buffer:
            if not self._write_paused:
                self.deadline = self._server.clock.now + self._server.limits.keep_alive_timeout_s
            if self._paused_reading:
                self._resume_reading()
        else:
            self.deadline = self._server.clock.time() + self._server.limits.head_timeout_s
            # Not from here: an answer given within `handle` would recurse once per pipelined request.
            if not self._next_is_due:
                self._next_is_due = True
                self._server.loop.call_soon(self._next)

    def _may_go_on(self) -> bool:
        """Whether the next request may be taken out of the buffer now."""
        return self._state is HEAD and self._exchange is None and self._buffer != b"" and not self._write_paused

    def _next(self) -> None:
        self._next_is_due = False
        if self._may_go_on():
            buffer, self._buffer = self._buffer, b""
            self._read_heads(buffer)

    # -- the end --------------------------------------------------------------------------------------------------

    def refuse(self, error: ProtocolError, request: bytes) -> None:
        """Answer before anything was read, and close: the client is wrong here; `request` begins what it has sent."""
        self._refuse(error, request)

    def _refuse(self, error: ProtocolError, request: bytes | None) -> None:
        """Answer what cannot be understood, and close: what follows on this connection cannot be framed.

        Args:
            request: what was received of it; None where the connection is refused and no request.
        """
        transport = self._transport
        if transport is None:
            return
        server = self._server
        head, body = refusal(error)
        data, _, _ = answer_head(UNREADABLE, head, False, server.clock.date)
        if request is None:
            server.refused(self, error)
        else:
            if request.startswith(b"HEAD "):
                body = b""
            now, status, size = server.clock.time(), error.status, len(body)
            server.refused(
                self,
                error,
                unread(begun(request), self.peer, self, now, error, status=status, size=size),  # type: ignore[arg-type]
            )
        transport.write(data + body)
        self._linger(answered=False)

    def _end(self, quiet: bool) -> None:
        """Close behind the last answer; at once where the client is `quiet`: bytes to a closed one reset it."""
        if quiet:
            self._close()
        else:
            self._linger(answered=True)

    def _linger(self, *, answered: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        self._state = LINGER
        self._buffer = b""
        self._left_to_drop = MAX_LINGER_BYTES
        # An answer that is not taken by then has its time as any other; uvloop could not tell yet whether it is.
        self._unsent = _ANY if answered else 0
        self.deadline = self._server.clock.time() + self._server.limits.linger_s
        self._resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        if self._eof:
            transport.close()

    def _close(self) -> None:
        self._state = CLOSED
        if self._transport is not None:
            self._unsent = self._transport.get_write_buffer_size()
            self.deadline = self._server.clock.time() + self._server.limits.send_timeout_s
            self._transport.close()

    def drain(self) -> None:
        """Answer what was begun, then close; an idle connection closes now, one that has just opened a little later."""
        if self._state is HEAD and not self._buffer and self._exchange is None:
            server = self._server
            # An idle one's deadline tells since when it is.
            left_s = self.deadline - server.clock.time() - server.limits.keep_alive_timeout_s + server.fresh_s
            if self._served or left_s <= 0:
                self._close()
            else:
                server.loop.call_later(left_s, self._close_unused)

    def _close_unused(self) -> None:
        if self._state is HEAD and not self._buffer and not self._served:
            self._close()

    @property
    def is_answering(self) -> bool:
        """Whether the client has begun to get an answer, and not got all of it."""
        exchange, transport = self._exchange, self._transport
        if exchange is not None:
            return exchange.is_answered
        return transport is not None and transport.get_write_buffer_size() > 0

    def cut(self) -> None:
        """Close at once, whatever is under way: Duck stops."""
        if self._transport is not None:
            self._cut = answer_cut()
            self._transport.abort()

    def send_upgrade(self, head: ResponseHead) -> Duplex:
        exchange, self._exchange = self._exchange, None
        transport, self._transport = self._transport, None
        if transport is None or exchange is None:
            raise ClientGone("the client left before the upgrade")
        self._state = CLOSED
        self.deadline = NEVER
        duplex = ClientDuplex(
            self._server, transport, exchange, self._buffer, eof=self._eof, paused=self._paused_reading
        )
        self._server.replaced(self, duplex)
        transport.set_protocol(cast("asyncio.Protocol", duplex))
        transport.write(upgrade_head(head, exchange.request.upgrade or b"websocket"))
        return duplex

    # -- the transport --------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused_reading and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()
