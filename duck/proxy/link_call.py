"""One request answered by Duck's own Django worker, over a link.

    collect the body -> take a slot -> REQUEST -> HEAD, DATA ... -> answered; the slot comes back by itself (FREE)

A thread of the worker is taken only when the body is complete, and its answer leaves it as fast as it comes. What a
slow client has not taken stays in memory up to `Exchange.read_ahead_bytes`, and beyond it in the spool; only where that
has no room is the thread held back:

    PASSING ──client slow, so much ahead──> OVERFLOWING ──no more room──> HELD (the link is not read)
       ^                                          │                          │
       └──────────────────all of it taken─────────┴──────────────────────────┘
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from duck.exceptions import BackendCut, BackendError, BackendTimeout, BackendUnreachable, LimitExceeded
from duck.net.clock import NEVER
from duck.proxy.call import IDEMPOTENT, Call
from duck.wire.fields import get
from duck.wire.head import ResponseHead
from duck.wire.link import request_frame

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.link_connection import LinkConnection
    from duck.net.measure import Measure
    from duck.proxy.backends import Backend
    from duck.proxy.handler import ProxyHandler
    from duck.proxy.spool import Overflow
    from duck.wire.fields import Fields


class LinkCall(Call):
    """One exchange on its way through a link: BodySink, Waiter, LinkCall and Producer in one object."""

    __slots__ = ("_ahead", "_connection", "_overflow")

    def __init__(self, proxy: ProxyHandler, exchange: Exchange) -> None:
        Call.__init__(self, proxy, exchange)
        self._connection: LinkConnection | None = None
        self._ahead = 0  # what was passed on since the client is slow
        self._overflow: Overflow | None = None  # what comes after that

    # -- the request's body (BodySink) ----------------------------------------------------------------------------

    def data(self, chunk: bytes) -> None:
        """More of the body."""
        self._keep(chunk, named=True)

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
        exchange.dispatched_at = now = proxy.clock.time()
        if self.queued_at:
            self._count_wait(now)
        spooled = self._spooled
        if request.content_length == 0:
            # A request that declares no body differs from one that declares an empty one: CONTENT_LENGTH.
            declared = request.method != b"GET" and get(request.fields, b"content-length") is not None
            length = b"0" if declared else b""
            data = request_frame(proxy.rules.link_head(request, exchange.peer, length, b"", exchange.id))
        elif spooled is not None:
            path = os.fsencode(spooled.path)
            head = proxy.rules.link_head(request, exchange.peer, b"%d" % self._size, path, exchange.id)
            data = request_frame(head)
        else:
            head = proxy.rules.link_head(request, exchange.peer, b"%d" % self._size, b"", exchange.id)
            data = request_frame(head, b"".join(self._chunks or ()))
        self._connection = connection
        if proxy.read_timeout_s:
            self.deadline = now + proxy.read_timeout_s
            self._watched = True
            proxy.clock.watched.add(self)
        connection.send(self, data)

    # -- the answer (LinkCall) ------------------------------------------------------------------------------------

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        """The answer begins, or is there as a whole."""
        head = ResponseHead(status, block=block, content_length=content_length, reason=reason)
        response = self._exchange.response
        if complete:
            self._connection = None
            self._let_go()
            response.answer(head, body)
            return
        self._exchange.answered_at = self._proxy.clock.time()
        if content_length is None and self._backend is not None:
            self._proxy.goes_on(self._exchange, self._backend)
        response.head(head)
        if body:
            self.link_data(body)
        elif self._watched:
            self._moved()

    def link_data(self, chunk: bytes) -> None:
        """The answer goes on."""
        if self._overflow is not None or (self._paused and self._ahead >= self._exchange.read_ahead_bytes):
            self._put_aside(chunk)
            return
        self._exchange.response.data(chunk)
        if self._paused:
            self._ahead += len(chunk)
        if self._watched:
            self._moved()

    def link_end(self) -> None:
        """The answer is complete."""
        exchange = self._exchange
        if self._overflow is None or exchange.is_over:
            self._finish()
            exchange.response.end(None)
        else:
            self._connection = None  # the rest lies in the overflow
            self._let_go()

    def link_cut(self, reason: str) -> None:
        """The view failed within its answer."""
        self._finish()
        name = self._name
        self._proxy.fail(self._exchange, BackendCut(f"{name} cut its answer: {reason}", backend=name))

    def link_found(self, path: bytes) -> None:
        """Never asked here."""
        raise AssertionError("an answer to a look-up that was not made")

    def link_measure(self, measure: Measure) -> None:
        """The worker has counted what the answer costs."""
        self._exchange.measure = measure

    def link_lost(self, error: Exception) -> None:
        """The worker died over this request, or before it."""
        connection, self._connection = self._connection, None
        exchange = self._exchange
        self.deadline = NEVER
        if exchange.is_over:
            self._finish()
        elif isinstance(error, BackendError) and error.retryable:
            # Nothing of it was begun: whatever it is, it may be sent again.
            if self._backend is not None:
                self._backend.links.drop_idle()
            self._proxy.dispatch(self)
        elif (
            connection is not None
            and not exchange.is_answered
            and not self._retried
            and exchange.request.method in IDEMPOTENT
        ):
            self._retried = True
            self._proxy.retries += 1
            if self._backend is not None:
                self._backend.links.drop_idle()
            self._proxy.dispatch(self)
        else:
            self._finish()
            failure = error if isinstance(error, BackendError) else BackendUnreachable(str(error), backend=self._name)
            self._proxy.fail(exchange, failure)

    # -- Producer -------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client is slow: read on, so that the worker's thread is free."""
        self._paused = True

    def resume(self) -> None:
        """The client has caught up with what was passed on."""
        self._paused = False
        if self._overflow is None:
            self._go_on()
        else:
            self._pass_on()

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
        name = self._name
        self._proxy.fail(
            self._exchange,
            BackendTimeout(f"{name} sent nothing for {self._proxy.read_timeout_s:g} s", backend=name),
        )

    # -- what a slow client has not taken -------------------------------------------------------------------------

    def _put_aside(self, chunk: bytes) -> None:
        """More of the answer, while enough of it waits in memory."""
        exchange = self._exchange
        if exchange.is_over:
            return
        overflow = self._overflow
        if overflow is None:
            overflow = self._overflow = self._proxy.spool.overflow()
        if overflow is None:
            exchange.response.data(chunk)
        elif overflow.put(chunk):
            if self._watched:
                self._moved()
            return
        if self._connection is not None:
            self._connection.pause_reading()
            self.deadline = NEVER

    def _pass_on(self) -> None:
        """Give the client the next piece of what was put aside; one in each turn of the loop, while it takes them."""
        overflow = self._overflow
        if overflow is None or self._paused:
            return
        exchange = self._exchange
        try:
            data = overflow.take()
        except OSError as error:
            name = self._name
            failure = BackendError(f"the answer of {name} cannot be read from the spool: {error}", backend=name)
            self._proxy.fail(exchange, failure)
            return
        if data:
            exchange.response.data(data)
            if not self._paused:
                self._proxy.loop.call_soon(self._pass_on)
            return
        self._overflow = None
        overflow.close()
        if self._connection is None:
            exchange.response.end(None)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Nothing waits any more: the answer passes as it comes."""
        self._ahead = 0
        if self._connection is not None:
            self._connection.resume_reading()
            if self._watched:
                self._moved()

    def _finish(self) -> None:
        self._connection = None
        self._let_go()
        overflow = self._overflow
        if overflow is not None:
            self._overflow = None
            overflow.close()
