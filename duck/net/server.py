"""What all client connections of one loop share: handler, limits, clock, counters."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from duck.exceptions import ClientGone, ProtocolError
from duck.net.client_certificate import variables_of
from duck.net.client_duplex import ClientDuplex
from duck.net.exchange import Exchange, failure_status
from duck.net.h2_connection import Http2ServerConnection
from duck.net.peer import Peer
from duck.net.server_connection import ServerConnection
from duck.net.stats import Stats, merge
from duck.net.tls_connection import TlsConnection
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.net.clock import Clock
    from duck.net.interfaces import Handler
    from duck.net.limits import Limits
    from duck.net.tls import Contexts

logger = logging.getLogger("duck.net")

_FRESH_S: Final = 1.0
# Answers that wait for slow clients with `Exchange.read_ahead_bytes` in memory; of more, what comes goes to the spool.
MAX_SLOW_IN_MEMORY: Final = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Trust:
    """Which peers may say who they speak for (TRUSTED_PROXIES)."""

    __slots__ = ("_cache", "_networks", "_of_unix")

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        """Args: networks or addresses, or `unix` for every peer of a Unix socket.

        Raises:
            ValueError: an entry is neither.
        """
        entries = list(proxies)
        self._of_unix = "unix" in entries
        self._networks: list[Network] = [
            ipaddress.ip_network(entry, strict=False) for entry in entries if entry != "unix"
        ]
        self._cache: dict[str, bool] = {}

    def __contains__(self, host: str) -> bool:
        """Whether the peer at `host` (`""` for a Unix socket) is trusted."""
        if not host:
            return self._of_unix
        if not self._networks:
            return False
        trusted = self._cache.get(host)
        if trusted is None:
            trusted = self._is_listed(host)
            if len(self._cache) < 4096:
                self._cache[host] = trusted
        return trusted

    def _is_listed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self._networks)


class Server:
    """The connections of one loop, and what they share.

    Attributes:
        handler: answers every exchange.
        draining: every answer is the last one of its connection.
        closes_idle: idle connections are closed: it drains, and who had a request under way could send it.
        fresh_s: as it closes idle ones, a connection this young that has sent nothing yet is waited for: its client has
            just begun, and may have had no time to ask.
        requests: exchanges begun since the start.
        contexts: what TLS is served with; None for none.
        http2: whether HTTP/2 is spoken, chosen by ALPN, or by its preface without TLS.
        refused_count: requests that could not be understood, and connections that were too many.
        on_exchange: told of each exchange that has ended, and of each request that could not be understood, by one that
            stands for it (see `unread`).
        stats: counts of the exchanges that have ended.
        slow: exchanges whose clients do not take their answers now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        handler: Handler,
        limits: Limits,
        *,
        trust: Trust | None = None,
        server_name: str = "",
        on_exchange: Callable[[Exchange], None] | None = None,
        on_refusal: Callable[[Peer, ProtocolError], None] | None = None,
        contexts: Contexts | None = None,
        http2: bool = True,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.handler = handler
        self.limits = limits
        self.trust = Trust() if trust is None else trust
        self.server_name = server_name
        self.on_exchange = on_exchange
        self.on_refusal = on_refusal
        self.contexts = contexts
        self.http2 = http2
        self.connections: set[ServerConnection | Http2ServerConnection | ClientDuplex | TlsConnection] = set()
        self._shaking: dict[TlsConnection, None] = {}  # the oldest first
        self.draining = False
        self.closes_idle = False
        self.fresh_s = 0.0
        self.requests = 0
        self.refused_count = 0
        self.stats = Stats()
        self.slow: set[Exchange] = set()
        self._on_end = self.ended  # made once, not for each exchange
        self._on_empty: Callable[[], None] | None = None
        self._is_full = False

    def protocol(self) -> asyncio.Protocol:
        """A protocol for a connection just accepted: one by its methods, not by its base (see ServerConnection)."""
        return cast("asyncio.Protocol", ServerConnection(self))

    def tls_protocol(self) -> asyncio.Protocol:
        """The same for a connection that begins with a TLS handshake."""
        assert self.contexts is not None
        return cast("asyncio.Protocol", TlsConnection(self, self.contexts))

    def protocol_for(self, chosen: str | None) -> asyncio.Protocol:
        """What serves a connection whose handshake has chosen the protocol `chosen` (ALPN); None for none."""
        if chosen == "h2" and self.http2:
            return cast("asyncio.Protocol", Http2ServerConnection(self))
        return self.protocol()

    def drain(self, on_empty: Callable[[], None], idle_s: float = 0.0) -> None:
        """Let every connection end with its next answer; `on_empty` is called once all have ended.

        Idle ones, and those that have sent nothing yet, are closed after `idle_s` seconds: to close one at once resets
        the request that its client has just sent (RFC 9112 §9.5). Who has connected within the last second, and asked
        nothing yet, is waited for until then: no client repeats the first request of a connection, and on a busy
        machine there may be as much between the two.
        """
        self.draining = True
        self._on_empty = on_empty
        if idle_s and self.connections:
            self.fresh_s = min(_FRESH_S, 20 * idle_s)
            self.loop.call_later(idle_s, self._close_idle)
        else:
            self._close_idle()

    def _close_idle(self) -> None:
        self.closes_idle = True
        for connection in list(self.connections):
            connection.drain()
        self._check_empty()

    def cut(self, *, upgraded: bool = True, answering: bool = True) -> int:
        """End every connection now; without `upgraded` those that still speak HTTP, without `answering` those whose
        answer has not begun. How many these are.
        """
        count = 0
        for connection in list(self.connections):
            if isinstance(connection, Http2ServerConnection):
                count += connection.cut(upgraded=upgraded, answering=answering)
                continue
            if isinstance(connection, ClientDuplex) and not upgraded:
                continue
            if isinstance(connection, ServerConnection) and not answering and connection.is_answering:
                continue
            connection.cut()
            count += 1
        return count

    def snapshot(self) -> dict[str, Any]:
        """What was counted since the start and, as `now`, what is; for `duck.net.stats.merge`. For any thread.

        `now` is no count: of a server that has ended it is nothing. A handler with a method `snapshot` adds to both.
        """
        stats = self.stats
        told = stats.snapshot()
        told["refused"] = self.refused_count - stats.crowded_out
        told["now"] = {
            "loops": 1,
            "connections": len(self.connections),
            "tunnels": stats.tunnels,
            "in_flight": max(0, self.requests - stats.ended),
        }
        of_handler = getattr(self.handler, "snapshot", None)
        return told if of_handler is None else merge((told, of_handler()))

    # -- for ServerConnection -------------------------------------------------------------------------------------

    def peer_of(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end of `transport`."""
        remote = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        host, port = _host_and_port(remote)
        server_host, server_port = _host_and_port(local)
        scheme = b"https" if transport.get_extra_info("sslcontext") is not None else b"http"
        return Peer(
            host,
            port,
            self.server_name or server_host or "localhost",
            server_port or (443 if scheme == b"https" else 80),
            scheme=scheme,
            # Without an address it is a Unix socket's, or a client's that is gone already.
            trusted=host in self.trust and (host != "" or not isinstance(local, tuple)),
            certificate=variables_of(transport.get_extra_info("peercert")) if scheme == b"https" else (),
        )

    @property
    def handshakes(self) -> int:
        """TLS handshakes under way."""
        return len(self._shaking)

    def handshaking(self, connection: TlsConnection) -> None:
        """A TLS connection begins; where too many do, the one that has been at it longest gives way.

        So whoever begins many and goes on with none keeps out no one who makes his handshake at once.
        """
        shaking = self._shaking
        if len(shaking) >= self.limits.max_handshakes:
            next(iter(shaking)).give_way()
        shaking[connection] = None
        self.connections.add(connection)
        self.clock.watched.add(connection)

    def handshaken(self, connection: TlsConnection) -> None:
        """Its handshake is complete; what is above it opens in the same call."""
        self.stats.handshakes += 1
        self._forget_handshake(connection)

    def handshake_ended(self, connection: TlsConnection, *, failed: bool) -> None:
        """It has ended without one."""
        if connection not in self.connections:
            return
        if failed:
            self.stats.handshakes_failed += 1
        self._forget_handshake(connection)
        if self._on_empty is not None:
            self._check_empty()

    def _forget_handshake(self, connection: TlsConnection) -> None:
        del self._shaking[connection]
        self.connections.discard(connection)
        self.clock.watched.discard(connection)

    def opened(self, connection: ServerConnection | Http2ServerConnection) -> bool:
        """Take a new connection in; False when there are too many."""
        self.connections.add(connection)
        self.clock.watched.add(connection)
        allowed = self.limits.max_connections
        count = len(self.connections)
        self.stats.accepted += 1
        if count <= allowed:
            if self._is_full and count < allowed - allowed // 10:
                self._is_full = False
            return True
        self.stats.crowded_out += 1
        if not self._is_full:
            # Once, until there is room again: a flood is no reason for a flood of lines.
            self._is_full = True
            logger.warning("%d connections are open, as many as MAX_CONNECTIONS allows; more are answered 503", allowed)
        return False

    def replaced(self, connection: ServerConnection, duplex: ClientDuplex) -> None:
        """An upgraded connection goes on as `duplex`."""
        self.connections.discard(connection)
        self.clock.watched.discard(connection)
        self.connections.add(duplex)
        self.clock.watched.add(duplex)
        self.tunnel_opened()

    def switched(self, connection: ServerConnection, other: Http2ServerConnection) -> None:
        """A connection that has just begun goes on as HTTP/2."""
        self.connections.discard(connection)
        self.clock.watched.discard(connection)
        self.connections.add(other)
        self.clock.watched.add(other)

    def tunnel_opened(self) -> None:
        """An exchange has left HTTP."""
        self.stats.upgraded += 1
        self.stats.tunnels += 1

    def tunnel_closed(self) -> None:
        """Its bytes have ended."""
        self.stats.tunnels -= 1

    def closed(self, connection: ServerConnection | Http2ServerConnection | ClientDuplex) -> None:
        """Forget an ended connection."""
        self.connections.discard(connection)
        self.clock.watched.discard(connection)
        if isinstance(connection, ClientDuplex):
            self.tunnel_closed()
        if self._on_empty is not None:
            self._check_empty()

    def handle(self, exchange: Exchange) -> None:
        """Have `exchange` answered; a fault of a handler becomes a 500 and never ends the loop."""
        self.requests += 1
        exchange.on_end = self._on_end
        try:
            self.handler.handle(exchange)
        except Exception as error:
            self.failed(exchange, error)

    def held_up(self, exchange: Exchange) -> None:
        """Pause an answer whose client is slow; nothing more of it is kept in memory where many wait there already."""
        slow = self.slow
        if len(slow) >= MAX_SLOW_IN_MEMORY:
            exchange.read_ahead_bytes = 0
        slow.add(exchange)
        exchange.pause_answer()

    def caught_up(self, exchange: Exchange) -> None:
        """Go on with an answer whose client takes more."""
        self.slow.discard(exchange)
        exchange.resume_answer()

    def ended(self, exchange: Exchange) -> None:
        """Count an exchange that is over, and tell of it."""
        if exchange.paused:
            self.slow.discard(exchange)
        exchange.ended_at = self.clock.time()
        self.stats.count(exchange)
        on_exchange = self.on_exchange
        if on_exchange is not None:
            on_exchange(exchange)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """Answer for a handler that raised."""
        if not isinstance(error, ClientGone | ProtocolError):
            what = exchange.request, exchange.id.decode("ascii")
            logger.error("a handler failed on %r (request %s)", *what, exc_info=error)
        exchange.error = error
        if exchange.is_answered:
            exchange.abort(error)
        else:
            exchange.answer(*plain_error(failure_status(error), "The server could not answer this request.", False))

    def refused(
        self,
        connection: ServerConnection | Http2ServerConnection,
        error: ProtocolError,
        unread: Exchange | None = None,
    ) -> None:
        """Count, and tell, a connection that is not served on, or `unread`, a request that could not be understood."""
        self.refused_count += 1
        if self.on_refusal is not None and connection.peer is not None:
            self.on_refusal(connection.peer, error)
        if unread is not None and self.on_exchange is not None:
            self.on_exchange(unread)

    def half_closed(self, exchange: Exchange) -> None:
        """The client has closed its sending side while `exchange` is under way."""
        producer = exchange.producer
        notify = getattr(producer, "half_closed", None)
        if notify is not None:
            notify()

    def _check_empty(self) -> None:
        on_empty = self._on_empty
        if on_empty is not None and not self.connections:
            self._on_empty = None
            self.loop.call_soon(on_empty)


def _host_and_port(address: object) -> tuple[str, int]:
    """Of a socket address; `""` and 0 for a Unix socket. An IPv4 address mapped into IPv6 is told as IPv4."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = str(address[0])
        return host.removeprefix("::ffff:") if host.startswith("::ffff:") and "." in host else host, int(address[1])
    return "", 0
