"""One request answered by Duck's own Django worker, over a link.

    collect the body -> take a slot -> REQUEST -> HEAD, DATA ... -> answered; the slot comes back by itself (FREE)

A thread of the worker is taken only when the body is complete, and its answer leaves it at once: a slow client costs
memory here, up to `READ_AHEAD_BYTES`, before it holds a thread there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendCut, BackendError, BackendTimeout, BackendUnreachable, LimitExceeded
from duck.net.clock import NEVER
from duck.proxy.spool import SpoolFull
from duck.wire.fields import get
from duck.wire.head import ResponseHead
from duck.wire.link import request_frame

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.link_connection import LinkConnection
    from duck.proxy.backends import Backend
    from duck.proxy.handler import ProxyHandler
    from duck.proxy.spool import SpooledBody
    from duck.wire.fields import Fields

READ_AHEAD_BYTES: Final = 1 << 20
# A body up to this length goes in the frame; a longer one into a file that the worker reads.
INLINE_BYTES: Final = 262_144

# Methods that may be sent again when nobody knows whether they were acted upon (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class LinkCall:
    """One exchange on its way through a link: BodySink, Waiter, LinkCall and Producer in one object."""

    __slots__ = (
        "_ahead",
        "_backend",
        "_chunks",
        "_connection",
        "_exchange",
        "_paused",
        "_proxy",
        "_retried",
        "_size",
        "_spooled",
        "deadline",
        "gone_since",
        "queued_at",
    )

    def __init__(self, proxy: ProxyHandler, exchange: Exchange) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._backend: Backend | None = None
        self._connection: LinkConnection | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._spooled: SpooledBody | None = None
        self._retried = False
        self._paused = False
        self._ahead = 0
        self.queued_at = 0.0
        self.gone_since = 0.0
        self.deadline = NEVER

    # -- the request's body (BodySink) ----------------------------------------------------------------------------

    def data(self, chunk: bytes) -> None:
        """More of the body: kept in memory, or in a file once it is long."""
        self._size += len(chunk)
        spooled = self._spooled
        try:
            if spooled is None:
                declared = self._exchange.request.content_length
                if self._size <= INLINE_BYTES and (declared is None or declared <= INLINE_BYTES):
                    self._chunks.append(chunk)
                    return
                self._spooled = spooled = self._proxy.spool.create()
                for earlier in self._chunks:
                    spooled.write(earlier)
                self._chunks.clear()
            spooled.write(chunk)
        except SpoolFull as error:
            self._finish()
            self._exchange.drop_body()
            self._proxy.refuse(self._exchange, error, 503)

    def end(self, trailers: Fields | None) -> None:
        """The body is complete. Trailers end here: WSGI has no place for them."""
        if not self._exchange.is_over:
            self._proxy.dispatch(self)

    def abort(self, error: Exception) -> None:
        """The body will not be complete."""
        self._finish()
        if isinstance(error, LimitExceeded) or not self._exchange.is_over:
            self._proxy.refuse(self._exchange, error, getattr(error, "status", 400))

    # -- a slot (Waiter) ------------------------------------------------------------------------------------------

    def start(self, backend: Backend) -> None:
        """Wait for a slot of `backend`."""
        self._backend = backend
        backend.links.acquire(self)

    def ready(self, connection: LinkConnection) -> None:
        """A slot is free: send the request."""
        exchange = self._exchange
        if exchange.is_over:
            self._finish()
            self._proxy.give_back(self._backend, connection)
            return
        request = exchange.request
        proxy = self._proxy
        spooled = self._spooled
        if request.content_length == 0:
            # A request that declares no body differs from one that declares an empty one: CONTENT_LENGTH.
            declared = request.method != b"GET" and get(request.fields, b"content-length") is not None
            data = request_frame(proxy.rules.link_head(request, exchange.peer, b"0" if declared else b"", b""))
        elif spooled is not None:
            head = proxy.rules.link_head(request, exchange.peer, b"%d" % self._size, spooled.path.encode())
            data = request_frame(head)
        else:
            head = proxy.rules.link_head(request, exchange.peer, b"%d" % self._size, b"")
            data = request_frame(head, b"".join(self._chunks))
        self._connection = connection
        if proxy.read_timeout_s:
            self.deadline = proxy.clock.time() + proxy.read_timeout_s
            proxy.clock.watched.add(self)
        connection.send(self, data)

    def refused(self, error: BackendError) -> None:
        """There is no slot: the queue is full or too slow, or the worker is gone."""
        exchange = self._exchange
        if exchange.is_over:
            self._finish()
        elif error.retryable and self._backend is not None:
            self._proxy.backend_gone(self, self._backend, error)
        else:
            self._finish()
            self._proxy.fail(exchange, error)

    # -- the answer (LinkCall) ------------------------------------------------------------------------------------

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        """The answer begins, or is there as a whole."""
        head = ResponseHead(status, block=block, content_length=content_length, reason=reason)
        response = self._exchange.response
        if complete:
            self._finish()
            response.answer(head, body)
            return
        response.head(head)
        if self.deadline != NEVER:
            self.deadline = self._proxy.clock.time() + self._proxy.read_timeout_s
        if body:
            self.link_data(body)

    def link_data(self, chunk: bytes) -> None:
        """The answer goes on."""
        self._exchange.response.data(chunk)
        if self._paused:
            self._ahead += len(chunk)
            if self._ahead >= READ_AHEAD_BYTES and self._connection is not None:
                self._connection.pause_reading()
                self.deadline = NEVER
        elif self.deadline != NEVER:
            self.deadline = self._proxy.clock.time() + self._proxy.read_timeout_s

    def link_end(self) -> None:
        """The answer is complete."""
        self._finish()
        self._exchange.response.end(None)

    def link_cut(self, reason: str) -> None:
        """The view failed within its answer."""
        self._finish()
        name = self._backend.upstream.name if self._backend is not None else ""
        self._proxy.fail(self._exchange, BackendCut(f"{name} cut its answer: {reason}", backend=name))

    def link_found(self, path: bytes) -> None:
        """Never asked here."""
        raise AssertionError("an answer to a look-up that was not made")

    def link_lost(self, error: Exception) -> None:
        """The worker died over this request."""
        connection, self._connection = self._connection, None
        exchange = self._exchange
        self.deadline = NEVER
        if exchange.is_over:
            self._finish()
        elif (
            connection is not None
            and not exchange.is_answered
            and not self._retried
            and exchange.request.method in IDEMPOTENT
        ):
            self._retried = True
            if self._backend is not None:
                self._backend.links.drop_idle()
            self._proxy.dispatch(self)
        else:
            self._finish()
            name = self._backend.upstream.name if self._backend is not None else ""
            failure = error if isinstance(error, BackendError) else BackendUnreachable(str(error), backend=name)
            self._proxy.fail(exchange, failure)

    # -- Producer -------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client is slow: read on for a while, so that the worker's thread is free."""
        self._paused = True
        self._ahead = 0

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._connection is not None:
            self._connection.resume_reading()
            if self._proxy.read_timeout_s:
                self.deadline = self._proxy.clock.time() + self._proxy.read_timeout_s

    def cancel(self, error: Exception) -> None:
        """The client has left: the worker is told, and closes its iterator at the next chunk."""
        connection = self._connection
        backend = self._backend
        self._finish()
        if connection is not None:
            connection.give_up()
        elif backend is not None:
            backend.links.forget(self)

    def expire(self, now: float) -> None:
        """The worker took too long for its next byte."""
        connection = self._connection
        self._finish()
        if connection is not None:
            connection.give_up()
        name = self._backend.upstream.name if self._backend is not None else ""
        self._proxy.fail(
            self._exchange,
            BackendTimeout(f"{name} sent nothing for {self._proxy.read_timeout_s:g} s", backend=name),
        )

    @property
    def exchange(self) -> Exchange:
        """What is answered."""
        return self._exchange

    def _finish(self) -> None:
        """The call is over: nothing of it stays."""
        self._connection = None
        if self.deadline != NEVER or self._proxy.read_timeout_s:
            self.deadline = NEVER
            self._proxy.clock.watched.discard(self)
        spooled = self._spooled
        if spooled is not None:
            self._spooled = None
            spooled.close()
