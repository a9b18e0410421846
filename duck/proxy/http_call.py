"""One request answered by a server that speaks HTTP/1.1: an ASGI server with the project, or any other.

Bodies stream both ways, each paused by whoever is slow. A body in chunks to a server that Duck did not start is
completed first, in memory or in the spool: behind a WSGI server Django takes a body without a length for an empty one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.exceptions import BackendCut, BackendError, BackendTimeout, ClientGone
from duck.net.clock import NEVER
from duck.net.measure import Tail, take_off
from duck.net.splice import LEAST_BYTES
from duck.proxy.call import IDEMPOTENT, Call
from duck.wire.framing import chunk, last_chunk

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.upstream_connection import UpstreamConnection
    from duck.proxy.backends import Backend
    from duck.proxy.handler import ProxyHandler
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead


class HttpCall(Call):
    """One exchange on its way through an HTTP/1.1 backend: BodySink, Waiter, UpstreamCall and Producer."""

    __slots__ = (
        "_backend_paused",
        "_chunked",
        "_collects",
        "_connection",
        "_diverting",
        "_half_closed",
        "_reused",
        "_tail",
        "upgrade",
    )

    def __init__(self, proxy: ProxyHandler, exchange: Exchange, *, upgrade: bytes = b"") -> None:
        Call.__init__(self, proxy, exchange)
        self.upgrade = upgrade
        self._connection: UpstreamConnection | None = None
        self._chunked = False
        self._collects = False  # the body is completed first
        self._diverting = False
        self._reused = False
        self._backend_paused = False  # the backend takes the body slowly
        self._half_closed = False
        self._tail: Tail | None = None  # of a stream whose cost is told at its end

    # -- a connection (Waiter) ------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Complete the body, so that its length is known; then go on by `ProxyHandler.dispatch`."""
        self._collects = True
        self._exchange.read_body(self)

    def start(self, backend: Backend) -> None:
        """Wait for a connection to `backend`."""
        self._backend = backend
        backend.https.acquire(self)

    def ready(self, connection: UpstreamConnection) -> None:
        """Send the request on `connection`."""
        exchange = self._exchange
        backend = self._backend
        assert backend is not None
        if exchange.is_over:
            self._finish()
            self._proxy.give_back(backend, connection)
            return
        request = exchange.request
        proxy = self._proxy
        exchange.dispatched_at = now = proxy.clock.time()
        if self.queued_at:
            self._count_wait(now)
        self._connection = connection
        self._reused = connection.calls > 0
        length = self._size if self._collects else None
        self._chunked = request.content_length is None and length is None
        extra = b"X-Request-ID: %b\r\n%b" % (exchange.id, backend.identity(exchange.peer))
        head = proxy.rules.http_head(request, exchange.peer, extra, upgrade=self.upgrade, length=length)
        if proxy.read_timeout_s or self._half_closed:
            self._moved()
            self._watched = True
            proxy.clock.watched.add(self)
        if self._collects:
            if self._spooled is None:
                connection.send(self, request.method, head + b"".join(self._chunks or ()), complete=True)
                self._chunks = None
            else:
                connection.send(self, request.method, head, complete=False)
                self._send_spooled()
            return
        complete = request.content_length == 0
        connection.send(self, request.method, head, complete=complete)
        if not complete:
            try:
                exchange.read_body(self)
            except ClientGone as error:
                self.cancel(error)

    # -- the request's body (BodySink) ----------------------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """More of the body, at once or to be completed first."""
        if self._collects:
            self._keep(data, named=False)
        elif self._connection is not None:
            self._connection.send_body(chunk(data) if self._chunked else data)
            self._moved()

    def end(self, trailers: Fields | None) -> None:
        """The body is complete; its trailers go on, the backend being HTTP/1.1, where it goes in chunks."""
        if self._collects:
            if not self._exchange.is_over:
                self._proxy.dispatch(self)
            return
        connection = self._connection
        if connection is not None:
            if self._chunked:
                connection.send_body(last_chunk(self._proxy.rules.forward_trailers(self._exchange.request, trailers)))
            connection.body_sent()

    def _send_spooled(self) -> None:
        """Send the next piece of a long body that was completed; one in each turn of the loop, while they are taken."""
        connection = self._connection
        spooled = self._spooled
        if connection is None or spooled is None or self._backend_paused:
            return
        try:
            data = spooled.read()
        except OSError as error:
            failure = BackendError(f"a request's body cannot be read from the spool: {error}", backend=self._name)
            self._proxy.fail(self._exchange, failure)
            return
        if data:
            connection.send_body(data)
            self._moved()
            if not self._backend_paused:
                self._proxy.loop.call_soon(self._send_spooled)
        else:
            self._spooled = None
            spooled.close()
            connection.body_sent()

    def abort(self, error: Exception) -> None:
        """The body will not be complete, and the backend must not take it for such."""
        connection = self._connection
        self._finish()
        if connection is not None:
            connection.close()
        if not self._exchange.is_over:
            self._proxy.refuse(self._exchange, error, getattr(error, "status", 400))

    # -- the answer (UpstreamCall) --------------------------------------------------------------------------------

    def upstream_informational(self, head: ResponseHead) -> None:
        """1xx passes on; 100 has been answered by Duck itself."""
        if head.status != 100:
            self._exchange.response.informational(head)

    def upstream_answer(self, head: ResponseHead, body: bytes) -> None:
        """The whole answer."""
        self._connection = None
        self._let_go()
        exchange = self._exchange
        exchange.drop_body()
        backend = self._backend
        if backend is not None and backend.seal:
            head, exchange.measure, _ = take_off(head, backend.seal)
        response = exchange.response
        if response is not exchange:
            head = head.copy()  # sinks on its way may change it
        if exchange.request.method == b"HEAD" or head.status == 304 or head.status == 204:
            response.head(head)
            exchange.response.end(None)
        else:
            response.answer(head, body)

    def upstream_head(self, head: ResponseHead) -> None:
        """The answer begins."""
        exchange = self._exchange
        exchange.answered_at = self._proxy.clock.time()
        backend = self._backend
        if backend is not None:
            if backend.seal:
                head, exchange.measure, mark = take_off(head, backend.seal)
                if mark:
                    self._tail = Tail(mark)
            if head.content_length is None:
                self._proxy.goes_on(exchange, backend)
        exchange.response.head(head)
        self._moved()

    def upstream_data(self, data: bytes) -> None:
        """The answer goes on."""
        exchange = self._exchange
        if self._tail is not None:
            data = self._tail.feed(data)
            if not data:
                self._moved()
                return
        exchange.response.data(data)
        self._moved()
        connection = self._connection
        if connection is not None and not self._diverting:
            left = connection.left_to_splice
            if left >= LEAST_BYTES:
                # Long, of known length, and nobody wants to see it: the rest need not pass through this process.
                self._diverting = exchange.relay(connection.divert, left, self._moved, self._diverted)

    def _diverted(self, error: Exception | None) -> None:
        connection = self._connection
        if connection is None:
            return  # cancelled meanwhile
        if error is None:
            connection.diverted()
            return
        self._finish()
        connection.close()
        name = self._name
        self._proxy.fail(self._exchange, BackendCut(f"{name} was cut within an answer: {error}", backend=name))

    def upstream_end(self, trailers: Fields | None) -> None:
        """The answer is complete."""
        self._finish()
        exchange = self._exchange
        exchange.drop_body()
        if self._tail is not None:
            rest, measure = self._tail.end()
            if rest:
                exchange.response.data(rest)
            exchange.measure = measure or exchange.measure
        exchange.response.end(trailers)

    def upstream_upgraded(self, head: ResponseHead) -> None:
        """The backend speaks another protocol now: join the two connections."""
        connection = self._connection
        self._exchange.answered_at = self._proxy.clock.time()
        self._finish()
        assert connection is not None and self._backend is not None
        self._backend.https.upgrade(connection)
        if not self.upgrade:
            connection.abort()
            self._proxy.fail(
                self._exchange, BackendError(f"{self._name} switched protocols unasked", backend=self._name)
            )
            return
        self._proxy.tunnel(self._exchange, connection, head, self._backend)

    def upstream_lost(self, error: BackendError) -> None:
        """The backend is gone before the answer was complete."""
        exchange = self._exchange
        backend = self._backend
        # A process that Duck started has died: every upgrade meets that on a new connection. Another server may have
        # closed a kept connection as the request left; one that closes a new one would do so again.
        has_died = backend is not None and backend.upstream.patient
        may_pass = self._reused or has_died
        self._finish()
        if exchange.is_over:
            return
        replayable = exchange.request.content_length == 0 and exchange.request.method in IDEMPOTENT
        if error.retryable and may_pass and replayable and not exchange.is_answered and not self._retried:
            self._retried = True
            self._proxy.retries += 1
            if backend is not None and has_died:
                backend.https.drop_idle()  # they have died with it, and may not know it yet
            self._proxy.dispatch(self)
        else:
            self._proxy.fail(exchange, error)

    def upstream_pause(self) -> None:
        """The backend takes the body slowly."""
        self._backend_paused = True
        self._exchange.pause_body()

    def upstream_resume(self) -> None:
        """The backend takes more."""
        self._backend_paused = False
        if self._spooled is not None:
            self._send_spooled()
        else:
            self._exchange.resume_body()

    # -- Producer -------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client is slow."""
        self._paused = True
        self.deadline = NEVER
        if self._connection is not None:
            self._connection.pause_reading()

    def resume(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._moved()
        if self._connection is not None and not self._diverting:
            self._connection.resume_reading()

    def cancel(self, error: Exception) -> None:
        """The client has left: closing the connection is how HTTP/1.1 says so, and cancels an ASGI view."""
        connection = self._connection
        backend = self._backend
        self._finish()
        if connection is not None:
            connection.close()
        elif backend is not None:
            backend.https.forget(self)

    def half_closed(self) -> None:
        """The client sends no more. Most that do so have left; one that has not gets its answer within a moment."""
        self._half_closed = True
        self._watched = True
        self._proxy.clock.watched.add(self)
        self._moved()

    def expire(self, now: float) -> None:
        """The backend took too long, or the client seems to have left."""
        left = self._half_closed
        name = self._name
        self.cancel(ClientGone("the client left"))
        error = BackendTimeout(f"{name} sent nothing in time", backend=name)
        if left:
            self._proxy.refuse(self._exchange, error, error.status, log=False)
        else:
            self._proxy.fail(self._exchange, error)

    def _moved(self) -> None:
        if self._paused:
            return
        if self._half_closed:
            self.deadline = self._proxy.clock.time() + self._proxy.half_closed_s
        elif self._proxy.read_timeout_s:
            self.deadline = self._proxy.clock.time() + self._proxy.read_timeout_s

    def _finish(self) -> None:
        self._connection = None
        self._let_go()
