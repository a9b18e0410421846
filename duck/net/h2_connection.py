"""A client's HTTP/2 connection: bytes in, exchanges out, many at a time; what they answer leaves in few writes.

    OPEN ──drain, idle, GOAWAY received──> LEAVING ──last stream ended──> LINGER ──> closed
      └──the client's fault, GOAWAY sent──────────────────────────────────> LINGER

What is framed, and which stream may send, `wire.h2_connection` decides; here are the transport, the deadlines, and the
exchanges. What streams send in one turn of the loop goes in one write at its end: a write for each would be a record of
TLS for each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from duck.exceptions import ClientGone, Http2Error, ProtocolError
from duck.net.clock import NEVER
from duck.net.exchange import Exchange
from duck.net.faults import answer_cut, answer_not_taken, body_cut_short
from duck.net.h2_stream import Http2Stream
from duck.net.unread import unread
from duck.wire.h2_connection import Http2Connection
from duck.wire.h2_frames import CANCEL, ENHANCE_YOUR_CALM

if TYPE_CHECKING:
    from duck.exceptions import DuckError
    from duck.net.clock import Clock
    from duck.net.limits import Limits
    from duck.net.peer import Peer
    from duck.net.server import Server
    from duck.wire.fields import Fields
    from duck.wire.h2_stream import StreamState
    from duck.wire.head import RequestHead

OPEN: Final = "open"
LEAVING: Final = "leaving"
LINGER: Final = "linger"
CLOSED: Final = "closed"

# Of bodies, put out in one turn; the loop serves others in between.
TURN_BYTES: Final = 131_072
# A transport with more than this unsent takes no bodies.
WRITE_BUFFER_BYTES: Final = 65_536
# Answers' heads and frames of the connection that may wait while the client takes nothing; then it is not read either.
MAX_WAITING: Final = 256
# Of the answer of one stream; there may be a hundred.
READ_AHEAD_BYTES: Final = 65_536
# How long a client may take to learn that the connection ends.
GOODBYE_S: Final = 1.0
MAX_LINGER_BYTES: Final = 1 << 20


class Http2ServerConnection:
    """One client's connection: `Watched` by the clock, an `asyncio.Protocol` by its methods (see ServerConnection).

    Attributes:
        http2: the framing and the states of the streams.
        live: streams whose exchange, or tunnel, goes on.
        touched: streams that received something in this turn.
    """

    __slots__ = (
        "_cut",
        "_eof",
        "_feeding",
        "_flush_is_due",
        "_head_by",
        "_idle_by",
        "_leave_by",
        "_left_to_drop",
        "_paused_reading",
        "_send_by",
        "_state",
        "_transport",
        "_unsent",
        "_write_paused",
        "clock",
        "deadline",
        "http2",
        "limits",
        "live",
        "peer",
        "server",
        "touched",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clock: Clock = server.clock
        self.limits: Limits = server.limits
        self.peer: Peer | None = None
        self.live: dict[int, Http2Stream] = {}
        self.touched: list[Http2Stream] = []
        limits = server.limits
        self.http2 = Http2Connection(
            self,
            b"http",
            server.clock.now,
            max_streams=limits.max_streams,
            max_head_bytes=limits.max_head_bytes,
            max_target_bytes=limits.max_target_bytes,
            max_fields=limits.max_fields,
        )
        self._transport: asyncio.Transport | None = None
        self._state = OPEN
        self._feeding = False
        self._flush_is_due = False
        self._paused_reading = False
        self._write_paused = False
        self._unsent = 0
        self._eof = False
        self._cut: ClientGone | None = None
        self._left_to_drop = 0
        self._idle_by = NEVER
        self._head_by = NEVER
        self._send_by = NEVER
        self._leave_by = NEVER
        self.deadline = NEVER

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self.server
        self.take_over(cast("asyncio.Transport", transport), server.peer_of(cast("asyncio.Transport", transport)))
        if not server.opened(self):
            self._fail("too many connections; try again soon", ENHANCE_YOUR_CALM)

    def take_over(self, transport: asyncio.Transport, peer: Peer) -> None:
        """Begin on `transport`, which may have been another protocol's before."""
        self._transport = transport
        self.peer = peer
        self.http2.scheme = peer.scheme
        # In its own words, for transports differ: above it bodies wait in their streams, where turns can be taken.
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._await_request(self.clock.time())
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._state is LINGER:
            self._left_to_drop -= len(data)
            if self._left_to_drop < 0 and self._transport is not None:
                self._transport.abort()
            return
        http2 = self.http2
        self._feeding = True
        http2.feed(data, self.clock.now)
        while self.touched:
            touched, self.touched = self.touched, []
            for stream in touched:
                stream.deliver()
        self._feeding = False
        if http2.error is not None:
            self._end_by_fault(http2.error)
            return
        if http2.is_within_head:
            # Where every read ends within a frame, each of them is another one.
            self._head_by = http2.head_since + self.limits.head_timeout_s
            self.due(self._head_by)
        else:
            self._head_by = NEVER
        self.flush()
        self._check_left()

    def eof_received(self) -> bool:
        self._eof = True
        if not self.live:
            return False
        # It may only have closed its half, and wait for its answers; if nobody is there, what is sent will tell.
        for stream in list(self.live.values()):
            if stream.duplex is not None or not stream.remote_ended:
                stream.lose(body_cut_short())
            elif stream.exchange is not None:
                self.server.half_closed(stream.exchange)
        return bool(self.live)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.closed(self)
        self._state = CLOSED
        self._transport = None
        self.deadline = NEVER
        self._lose_all(self._cut or ClientGone("the client left"))

    def pause_writing(self) -> None:
        self._write_paused = True
        self.http2.held = True
        transport = self._transport
        if transport is not None:
            self._unsent = transport.get_write_buffer_size()
            self._send_by = self.clock.time() + self.limits.send_timeout_s
            self.due(self._send_by)

    def resume_writing(self) -> None:
        self._write_paused = False
        self.http2.held = False
        self._send_by = NEVER
        if self._state is LINGER:
            return
        self.flush()
        if self._paused_reading and not self._write_paused and self._transport is not None:
            self._paused_reading = False
            self._transport.resume_reading()
        self._check_left()

    # -- sent -----------------------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Send what there is at the end of this turn of the loop."""
        if not self._feeding and not self._flush_is_due:
            self._flush_is_due = True
            self.server.loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._flush_is_due = False
        self.flush()
        self._check_left()

    def flush(self) -> None:
        """Send what there is, as far as the transport takes it."""
        transport = self._transport
        http2 = self.http2
        if transport is None:
            return
        out = http2.out
        if self._write_paused:
            if len(out) > MAX_WAITING and not self._paused_reading:
                self._paused_reading = True
                transport.pause_reading()
            return
        if http2.has_work:
            self._feeding = True  # what streams do meanwhile is sent below
            http2.emit(TURN_BYTES)
            self._feeding = False
            if http2.has_work:
                self.flush_soon()
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            transport.write(data)

    # -- requests (Http2Owner) ------------------------------------------------------------------------------------

    def make_stream(self, stream_id: int, send_window: int) -> Http2Stream:
        return Http2Stream(self, stream_id, send_window)

    def request(self, stream: StreamState, head: RequestHead) -> None:
        assert isinstance(stream, Http2Stream) and self.peer is not None
        if head.upgrade is not None:
            head = stream.ask_for_tunnel(head)
        exchange = Exchange(head, self.peer, stream, self.clock.time(), self.limits.max_body_bytes)
        exchange.read_ahead_bytes = READ_AHEAD_BYTES
        stream.exchange = exchange
        self.live[stream.id] = stream
        self.server.handle(exchange)

    def refused(self, stream: StreamState, error: ProtocolError, head: RequestHead) -> None:
        assert isinstance(stream, Http2Stream) and self.peer is not None
        size = stream.refuse(error)
        now = self.clock.time()
        self.server.refused(self, error, unread(head, self.peer, stream, now, error, status=error.status, size=size))

    def malformed(self, stream: StreamState, error: Http2Error, head: RequestHead) -> None:
        assert isinstance(stream, Http2Stream) and self.peer is not None
        now = self.clock.time()
        self.server.refused(self, error, unread(head, self.peer, stream, now, error, status=0, size=0))

    def body(self, stream: StreamState, data: bytes) -> None:
        assert isinstance(stream, Http2Stream)
        stream.received(data)

    def body_end(self, stream: StreamState, fields: Fields | None) -> None:
        assert isinstance(stream, Http2Stream)
        stream.received_end(fields)

    def was_reset(self, stream: StreamState, error: DuckError) -> None:
        assert isinstance(stream, Http2Stream)
        stream.lose(error)

    def emitted(self, stream: StreamState) -> None:
        assert isinstance(stream, Http2Stream)
        stream.emitted()

    def refill(self, stream: StreamState) -> None:
        assert isinstance(stream, Http2Stream)
        stream.refill()

    def sent_end(self, stream: StreamState) -> None:
        assert isinstance(stream, Http2Stream)
        stream.sent_end()

    def goodbye_heard(self) -> None:
        if self._leave_by != NEVER:
            self._leave_by = NEVER
            self.http2.stop()

    def forget(self, stream: StreamState) -> None:
        """`stream` has nothing to do any more."""
        if self.live.pop(stream.id, None) is not None and not self.live:
            self._await_request(self.clock.now)
            if not self._feeding:
                self.flush_soon()

    # -- deadlines ------------------------------------------------------------------------------------------------

    def due(self, when: float) -> None:
        """Look at all deadlines at `when`, if not before."""
        if when < self.deadline:
            self.deadline = when

    def _await_request(self, now: float) -> None:
        """Set the deadline of the next request; one that opened when others were told to go waits for none."""
        seconds = self.limits.linger_s if self.server.closes_idle else self.limits.keep_alive_timeout_s
        self._idle_by = now + seconds
        self.due(self._idle_by)

    def expire(self, now: float) -> None:
        """A deadline may have passed: which one is looked for."""
        transport = self._transport
        self.deadline = NEVER
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if self._state is LINGER:
            if not unsent or unsent >= self._unsent:
                transport.abort()
                return
            self._unsent = unsent
            self.deadline = now + self.limits.send_timeout_s
            return
        if self._write_paused and self._send_by <= now:
            if unsent >= self._unsent:
                self._cut = answer_not_taken(self.limits.send_timeout_s)
                transport.abort()
                return
            self._unsent = unsent
            self._send_by = now + self.limits.send_timeout_s
        if self._head_by <= now:
            self._fail("the request's head came too slowly", ENHANCE_YOUR_CALM)
            return
        if self._leave_by <= now:
            self.goodbye_heard()
        if not self.live and self._idle_by <= now:
            self._leave("idle")
            return
        for stream in list(self.live.values()):
            if stream.deadline <= now:
                stream.expire(now)
        self.flush()
        self._check_left()
        if self._transport is None or self._state is LINGER:
            return
        self.due(min(self._send_by, self._head_by, self._leave_by))
        if not self.live:
            self.due(self._idle_by)
        for stream in self.live.values():
            self.due(stream.deadline)

    # -- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Answer what was begun, and what comes before the client can know of the end; then close."""
        if self._state is OPEN:
            self._state = LEAVING
            self.http2.go_away()
            self._leave_by = self.clock.time() + GOODBYE_S
            self.due(self._leave_by)
            self.flush()
            self._check_left()

    def cut(self, *, upgraded: bool = True, answering: bool = True) -> bool:
        """Close at once, whatever is under way; whether anything was.

        Without `upgraded` tunnels go on, without `answering` answers that have begun, and the connection for these.
        """
        transport = self._transport
        if transport is None:
            return False
        error = answer_cut()
        ended = [
            stream
            for stream in self.live.values()
            if (upgraded if stream.duplex is not None else answering or not stream.is_answering)
        ]
        if len(ended) < len(self.live) or (not answering and transport.get_write_buffer_size()):
            for stream in ended:
                self.http2.reset(stream, CANCEL)
                stream.lose(error)
            self.flush()
            return bool(ended)
        self._cut = error
        transport.abort()
        return True

    def _check_left(self) -> None:
        """Close once nothing goes on that has to be waited for."""
        if self.live or self._state is LINGER or self._state is CLOSED or self._leave_by != NEVER:
            return
        if self._state is LEAVING or self._eof or self.http2.peer_leaves:
            self._leave("")

    def _leave(self, why: str) -> None:
        """Say goodbye and close."""
        self.http2.stop(why)
        self._linger()

    def _fail(self, message: str, code: int) -> None:
        self.http2.fail(message, code)
        assert self.http2.error is not None
        self._end_by_fault(self.http2.error)

    def _end_by_fault(self, error: Http2Error) -> None:
        self.server.refused(self, error)
        self._lose_all(error)
        self._linger()

    def _lose_all(self, error: Exception) -> None:
        for stream in list(self.live.values()):
            stream.lose(error)

    def _linger(self) -> None:
        """Close behind what was said: what still comes is thrown away, so that a reset does not overtake it."""
        transport = self._transport
        if transport is None:
            return
        self._write_paused = False
        self.flush()
        self._state = LINGER
        self._left_to_drop = MAX_LINGER_BYTES
        self._unsent = 1 << 62
        self.deadline = self.clock.time() + self.limits.linger_s
        if self._paused_reading:
            self._paused_reading = False
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        if self._eof:
            transport.close()
