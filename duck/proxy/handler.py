"""ProxyHandler: sends each exchange to a backend of the present generation, and answers for backends that fail."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import BackendError, ClientGone
from duck.net.exchange import failure_status
from duck.net.farewell import BEFORE_THE_CUT_S, Farewell
from duck.net.faults import body_too_large
from duck.net.tunnel import Tunnel, go_away
from duck.proxy.backends import Backend, Backends
from duck.proxy.gate import BROKEN, OPEN, Gate
from duck.proxy.http_call import HttpCall
from duck.proxy.link_call import LinkCall
from duck.proxy.rules import ForwardRules, count_forward, forwards_left, identify
from duck.proxy.upstream import QueueLimits
from duck.wire.fields import get_all, tokens
from duck.wire.head import ResponseHead
from duck.wire.render import accepts_html, plain_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Duplex
    from duck.net.server import Trust
    from duck.net.upstream_connection import UpstreamConnection
    from duck.proxy.call import Call
    from duck.proxy.spool import Spool
    from duck.proxy.upstream import Generation

logger = logging.getLogger("duck.proxy")

# Between two attempts to reach a backend that is being replaced.
RETRY_S: Final = 0.1


class ProxyHandler:
    """The direct lane: from a parsed request to a backend, with no coroutine and no object but the call.

    Attributes:
        rules: what backends are told; replaced with each generation.
        gate: holds requests while there is no backend.
        retries: requests that were sent a second time, the connection having died under the first.
        tunnels: those that are open, each with the backend at its other end.
        streams: answers without a length while they last, each with its backend.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        spool: Spool,
        trust: Trust,
        *,
        rules: ForwardRules | None = None,
        read_timeout_s: float = 0.0,
        hold_timeout_s: float = 60.0,
        tunnel_idle_s: float = 0.0,
        half_closed_s: float = 1.0,
        limits: QueueLimits | None = None,
        share: tuple[int, int] = (0, 1),
        farewell: Farewell | None = None,
        on_broken: Callable[[Exchange], None] | None = None,
        name: str = "Django",
    ) -> None:
        """`farewell`: to tunnels and streams of backends that are replaced; `name`: what requests are held for."""
        self.loop = loop
        self.clock = clock
        self.spool = spool
        self.rules = ForwardRules() if rules is None else rules
        self.read_timeout_s = read_timeout_s
        self.half_closed_s = half_closed_s
        self.gate = Gate(clock, self.fail, timeout_s=hold_timeout_s, what=name)
        self.tunnels: dict[Tunnel, Backend] = {}
        self.streams: dict[Exchange, Backend] = {}
        self.retries = 0
        self._farewell = Farewell() if farewell is None else farewell
        self._draining: Farewell | None = None
        self._drains_at = 0.0
        self._backends: Backends | None = None
        # What is in flight at backends that were replaced, and who waits for its end.
        self._left: set[Backend] = set()
        self._leaving: list[tuple[set[Backend], Callable[[], None]]] = []
        self._trust = trust
        self._limits = QueueLimits() if limits is None else limits
        self._tunnel_idle_s = tunnel_idle_s
        self._share = share
        self._on_broken = on_broken

    # -- the generation -------------------------------------------------------------------------------------------

    def switch(self, generation: Generation, on_left: Callable[[], None] | None = None) -> None:
        """Send what comes from now on, and what waits, to `generation`; upstreams that it keeps are not touched.

        Tunnels and streams of those that it does not keep are ended in order, and other calls finish. `on_left` is
        called once nothing is in flight any more at these and at what was left before: they may be stopped.
        """
        old = self._backends
        self._backends = Backends(
            generation,
            self.loop,
            self.clock,
            self._limits,
            previous=old,
            share=self._share,
        )
        self.gate.open()
        left = set() if old is None else old.without(self._backends)
        self._left |= left
        if on_left is not None:
            if self._left:
                self._leaving.append((set(self._left), on_left))
            else:
                on_left()
        for backend in left:
            backend.close(self._is_empty)
        if self._draining is None:
            go_away([one for one, backend in self.tunnels.items() if backend in left], self.loop, self._farewell)
            streams = [one for one, backend in self.streams.items() if backend in left]
            for exchange, delay_s in zip(streams, self._farewell.streams(len(streams)), strict=True):
                self.loop.call_later(delay_s, self._end_stream, exchange)

    def _is_empty(self, backend: Backend) -> None:
        """Nothing is in flight any more at a backend that was replaced."""
        self._left.discard(backend)
        waiting, self._leaving = self._leaving, []
        for backends, on_left in waiting:
            backends.discard(backend)
            if backends:
                self._leaving.append((backends, on_left))
            else:
                on_left()

    @property
    def generation(self) -> Generation | None:
        """The generation in use."""
        return None if self._backends is None else self._backends.generation

    @property
    def backends(self) -> Backends | None:
        """The upstreams in use, with their pools."""
        return self._backends

    def snapshot(self) -> dict[str, Any]:
        """What `Server.snapshot` adds of backends; generations by how many loops send to them."""
        backends = self._backends
        slots = busy = waiting = 0
        generations = {}
        if backends is not None:
            generations[str(backends.generation.number)] = 1
            for backend in backends.pages:
                pool = backend.links if backend.is_link else backend.https
                slots += backend.upstream.slots
                busy += pool.busy
                waiting += len(pool.waiting)
        now = {"generations": generations, "slots": slots, "busy": busy, "waiting": waiting, "held": self.gate.held}
        return {"retries": self.retries, "now": now}

    # -- exchanges ------------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange` by a backend (`Handler`)."""
        if exchange.peer.trusted and not exchange.peer.via:
            exchange.peer = identify(exchange.request, exchange.peer, self._trust)
        if self.gate.state is not OPEN:
            self._wait(exchange, lambda: self.handle(exchange))
            return
        backends = self._backends
        assert backends is not None
        request = exchange.request
        if request.method in _COUNTED:
            left = forwards_left(request)
            # The target * means the server as a whole (RFC 9110 §9.3.7), and no route of Django's begins so.
            if left == 0 or request.target == b"*":
                self._answer_last(exchange)
                return
            if left is not None:
                request = exchange.request = count_forward(request, left)
        if request.upgrade is not None and backends.sockets and self._handle_upgrade(exchange, backends):
            return
        if not backends.pages:
            self.fail(exchange, BackendError("no backend answers plain requests"))
            return
        backend = backends.pick_page()
        exchange.backend = backend.upstream.name
        if backend.is_link:
            call = LinkCall(self, exchange)
            exchange.producer = call
            if request.content_length == 0:
                call.start(backend)
            else:
                exchange.read_body(call)
        else:
            if (request.content_length or 0) > exchange.max_body_bytes:
                # Before a connection is taken for it. Whoever collects a body first learns it from the exchange.
                self.refuse(exchange, body_too_large(exchange.max_body_bytes), 413)
                return
            http_call = HttpCall(self, exchange)
            exchange.producer = http_call
            if request.content_length is None and not backend.upstream.identity_field:
                http_call.collect()
            else:
                http_call.start(backend)

    def _answer_last(self, exchange: Exchange) -> None:
        """Answer in a backend's place what may go no further: OPTIONS asks who is there, TRACE is not reflected."""
        options = exchange.request.method == b"OPTIONS"
        head = ResponseHead(200 if options else 501, [(b"Content-Type", b"text/plain; charset=utf-8")])
        exchange.response.answer(head, b"" if options else b"TRACE is not answered by this proxy.\n")

    def _handle_upgrade(self, exchange: Exchange, backends: Backends) -> bool:
        """Take an upgrade to WebSocket; any other is an ordinary request (RFC 9110 §7.8)."""
        request = exchange.request
        backend = backends.pick_socket()
        if (
            backend is None
            or request.method != b"GET"
            or request.content_length != 0
            or tokens((request.upgrade or b"",)) != [b"websocket"]
            or not get_all(request.fields, b"sec-websocket-key")
        ):
            return False
        exchange.backend = backend.upstream.name
        call = HttpCall(self, exchange, upgrade=request.upgrade or b"websocket")
        exchange.producer = call
        call.start(backend)
        return True

    def dispatch(self, call: Call) -> None:
        """Start `call`, or start it again, on a backend of the present generation."""
        exchange = call.exchange
        if exchange.is_over:
            return
        if self.gate.state is not OPEN:
            self._wait(exchange, lambda: self.dispatch(call))
            return
        backends = self._backends
        assert backends is not None
        if isinstance(call, HttpCall):
            candidates = [
                backend for backend in (backends.sockets if call.upgrade else backends.pages) if not backend.is_link
            ]
        else:
            candidates = [backend for backend in backends.pages if backend.is_link]
        if not candidates:
            self.fail(exchange, BackendError("the backend was replaced by one of another kind"))
            return
        exchange.producer = call
        backend = candidates[0] if len(candidates) == 1 else min(candidates, key=lambda one: one.load)
        call.start(backend)

    def backend_gone(self, call: Call, backend: Backend, error: BackendError) -> None:
        """`call` could not be sent: another backend gets it, or it waits for the next one.

        Whether there will be a next one the App knows; until it says so, the call tries again, for as long as a request
        may be held.
        """
        backends = self._backends
        now = self.clock.time()
        if not call.gone_since:
            call.gone_since = now
        replaced = backends is None or (backend not in backends.pages and backend not in backends.sockets)
        if replaced or self.gate.state is not OPEN:
            self.dispatch(call)
            return
        assert backends is not None
        backend.shun()
        if any(other.is_link == backend.is_link and not other.shunned for other in backends.group_of(backend)):
            self.dispatch(call)
        elif now - call.gone_since < self._limits.queue_timeout_s and backend.upstream.patient:
            self.loop.call_later(RETRY_S, self.dispatch, call)
        else:
            self.fail(call.exchange, error)

    def give_back(self, backend: Backend | None, connection: Any) -> None:
        """Return a connection that was not used."""
        if backend is not None:
            (backend.links if backend.is_link else backend.https).release(connection)

    def _wait(self, exchange: Exchange, go: Callable[[], None]) -> None:
        if self.gate.state is BROKEN:
            self._drop_call(exchange, BackendError("the project could not be started"))
            if self._on_broken is not None:
                self._on_broken(exchange)
            else:
                self.fail(exchange, BackendError("the project could not be started"))
        else:
            self.gate.wait(exchange, go)

    def _drop_call(self, exchange: Exchange, error: Exception) -> None:
        """Let go of whatever makes the answer: its place in a queue, its slot, its body's file."""
        producer = exchange.producer
        if producer is not None:
            exchange.producer = None
            producer.cancel(error)

    # -- failures -------------------------------------------------------------------------------------------------

    def fail(self, exchange: Exchange, error: BackendError) -> None:
        """Answer 502, 503 or 504 for a backend, or cut an answer begun; the log says which and why."""
        if exchange.is_over:
            return
        logger.warning(
            "%s %s: %s%s (request %s)",
            exchange.request.method.decode("ascii", "replace"),
            exchange.request.path.decode("latin-1"),
            error,
            "; the answer was cut" if exchange.is_answered else "",
            exchange.id.decode("ascii"),
        )
        self.refuse(exchange, error, failure_status(error), log=False)

    def refuse(self, exchange: Exchange, error: Exception, status: int, *, log: bool = True) -> None:
        """Answer `status` with a plain page, or cut an answer begun."""
        if exchange.is_over:
            return
        self._drop_call(exchange, error)
        if exchange.is_answered:
            exchange.response.abort(error)
            return
        if log and not isinstance(error, ClientGone):
            logger.warning(
                "%s %s: %s (request %s)",
                exchange.request.method.decode(),
                exchange.request.path.decode("latin-1"),
                error,
                exchange.id.decode("ascii"),
            )
        exchange.error = error
        fields = [(b"Retry-After", b"5")] if status == 503 else None
        sentence = SENTENCES.get(status, f"{error}.")
        head, body = plain_error(status, sentence, accepts_html(exchange.request), fields=fields)
        exchange.response.answer(head, body)

    # -- tunnels --------------------------------------------------------------------------------------------------

    def tunnel(self, exchange: Exchange, connection: UpstreamConnection, head: ResponseHead, backend: Backend) -> None:
        """Join the client's connection and the backend's, which has answered 101 with `head`."""
        try:
            client: Duplex = exchange.response.upgrade(head)
        except ClientGone:
            connection.abort()
            return

        def ended(tunnel: Tunnel) -> None:
            self.tunnels.pop(tunnel, None)
            exchange.bytes_received = tunnel.bytes_up
            exchange.bytes_sent = tunnel.bytes_down
            exchange.error = exchange.error or tunnel.error

        tunnel = Tunnel(client, connection, self.clock, self._tunnel_idle_s, ended)
        if not tunnel.has_ended:
            self.tunnels[tunnel] = backend
            if self._draining is not None or backend.is_left:
                tunnel.go_away()

    def drain(self, farewell: Farewell) -> None:
        """The worker is to end: say farewell to tunnels and streams, which would not end by themselves.

        Most streams go on until their deadline is near, for some are short. Those of events are ended in order then,
        for their clients come back by themselves; others are cut, lest they look complete.
        """
        self._draining = farewell
        self._drains_at = self.clock.time()
        go_away(self.tunnels, self.loop, farewell)
        for exchange, delay_s in zip(tuple(self.streams), farewell.streams(len(self.streams)), strict=True):
            self.loop.call_later(delay_s, self._end_stream, exchange)

    def goes_on(self, exchange: Exchange, backend: Backend) -> None:
        """Remember an answer of unknown length while it lasts."""
        self.streams[exchange] = backend
        if self._draining is not None:
            ends_at = self._drains_at + self._draining.streams_s
        elif backend.is_left:
            ends_at = backend.left_at + self._farewell.streams_s
        else:
            return
        delay_s = max(0.0, ends_at - BEFORE_THE_CUT_S - self.clock.time())
        self.loop.call_later(delay_s, self._end_stream, exchange)

    def _end_stream(self, exchange: Exchange) -> None:
        if exchange in self.streams:
            exchange.leave(ClientGone("Duck went away"), in_order=exchange.streams_events)

    def close(self) -> None:
        """The worker ends."""
        if self._backends is not None:
            self._backends.close()
        for tunnel in list(self.tunnels):
            tunnel.close()


# Methods whose requests count the proxies that they pass (RFC 9110 §7.6.2).
_COUNTED: Final = (b"OPTIONS", b"TRACE")

# What a client is told; the log says which backend and why.
SENTENCES: Final = {
    502: "The application behind this server did not answer.",
    503: "The application is busy or starting. Please try again in a moment.",
    504: "The application behind this server did not answer in time.",
}
