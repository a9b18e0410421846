"""Frontend: the requests of a page that a front-end development server answers, Vite for one, at Duck's own address.

The server is proxied as any other; its hot-reload socket is a tunnel. It is told the name `localhost` in Host, whatever
the client wrote: Vite refuses names that it does not know, and the names that it would have to know are looked at here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendUnreachable
from duck.http.ducksight.access import host_of, is_loopback_name
from duck.http.frontend_paths import AFTER, FIRST, NEVER, SOURCE, FrontendPaths, comes_from_duck, is_same_site
from duck.proxy.gate import HOLDING
from duck.proxy.handler import ProxyHandler
from duck.proxy.rules import ForwardRules
from duck.proxy.upstream import Generation, QueueLimits, Upstream
from duck.wire.render import accepts_html, plain_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.farewell import Farewell
    from duck.net.interfaces import Duplex, ResponseSink
    from duck.net.server import Trust
    from duck.proxy.spool import Spool
    from duck.wire.fields import Fields
    from duck.wire.head import ResponseHead

logger = logging.getLogger("duck.http")

_SLOTS: Final = 256  # a page of hundreds of modules asks for as many as its browser has connections, or streams
_MAX_TOLD: Final = 16


@dataclass(frozen=True)
class FrontendConfig:
    """What a site is told of the front-end server that belongs to it.

    Attributes:
        name: as logs say it.
        root: the directory whose files it serves; empty where that is not known.
        paths: expressions for whole paths that it answers first.
    """

    name: str
    root: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrontendState:
    """How things are with it.

    Attributes:
        address: where it listens; None while it does not.
        base: the path below which its files are, with its final slash.
        patient: who asks waits while it starts again.
        failure: why nobody should wait for it; empty where it is about to come.
    """

    address: tuple[str, int] | None
    base: str = "/"
    patient: bool = True
    failure: str = ""


class Frontend:
    """Of one site, on its loop.

    Attributes:
        is_on: whether it answers anything: in DEBUG alone.
        proxy: how it is reached.
    """

    def __init__(
        self,
        config: FrontendConfig,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        spool: Spool,
        trust: Trust,
        limits: QueueLimits,
        *,
        hold_timeout_s: float,
        tunnel_idle_s: float,
        farewell: Farewell,
    ) -> None:
        self.is_on = False
        self.proxy = ProxyHandler(
            loop,
            clock,
            spool,
            trust,
            hold_timeout_s=hold_timeout_s,
            tunnel_idle_s=tunnel_idle_s,
            limits=limits,
            farewell=farewell,
            on_broken=self._refuse,
            name=config.name,
        )
        self._loop = loop
        self._config = config
        self._paths = FrontendPaths(config.root, config.paths)
        self._hosts: tuple[str, ...] = ()
        self._static: str | None = None
        self._failure = ""
        self._generations = 0
        self._told: set[str] = set()

    # -- steering -------------------------------------------------------------------------------------------------

    def project(self, facts: Mapping[str, Any], static: str | None) -> None:
        """Know the project that it belongs to; `static` is the prefix of the static files that Duck answers."""
        self.is_on = bool(facts.get("debug", True))
        self._hosts = tuple(str(host).lower() for host in facts.get("allowed_hosts") or ())
        self._static = static

    def turn(self, state: FrontendState) -> None:
        """Know how things are with the server."""
        self._failure = state.failure
        if state.address is not None:
            host, port = state.address
            self._paths.base = state.base
            self._generations += 1
            self.proxy.rules = ForwardRules(host=b"localhost:%d" % port)
            upstream = Upstream("http", (host, port), _SLOTS, self._config.name, patient=state.patient)
            self.proxy.switch(Generation(self._generations, (upstream,), (upstream,)))
        elif state.failure:
            self.proxy.gate.break_()
        else:
            self.proxy.gate.hold()

    def drain(self, farewell: Farewell) -> None:
        """The worker is to end."""
        self.proxy.drain(farewell)

    def close(self) -> None:
        """The worker ends."""
        self.proxy.close()

    # -- exchanges ------------------------------------------------------------------------------------------------

    def takes(self, exchange: Exchange, again: Callable[[Exchange], None]) -> bool:
        """Answer `exchange` where it is the server's before anybody else's; False, and nothing done, where it is not.

        `again` is called instead with one that came before it was known what is the server's.
        """
        decision = self._decide(exchange)
        if decision is not FIRST and decision is not SOURCE:
            return False
        exchange.backend = self._config.name
        if self._paths.base is None and self.proxy.gate.state is HOLDING:
            self.proxy.gate.wait(exchange, lambda: again(exchange))
            return True
        if decision is SOURCE:
            self._say(exchange)
        self.proxy.handle(exchange)
        return True

    def takes_missing(self, exchange: Exchange) -> bool:
        """The same with a static file that is not there."""
        if self._failure or self._decide(exchange) is NEVER:
            return False
        exchange.backend = self._config.name
        self.proxy.handle(exchange)
        return True

    def follow(self, exchange: Exchange) -> None:
        """Answer `exchange` in Django's place where Django says 404, and where that is the server's."""
        if not self._failure and self._decide(exchange) is AFTER:
            exchange.wrap(lambda sink: _Second(sink, exchange, self._answer_second))

    def _answer_second(self, exchange: Exchange) -> None:
        if not exchange.is_over:
            self.proxy.handle(exchange)

    def _decide(self, exchange: Exchange) -> str:
        if not self.is_on:
            return NEVER
        request = exchange.request
        decision = self._paths.decide(request, self._static)
        if decision is NEVER or comes_from_duck(request) or not is_same_site(request, exchange.peer.scheme):
            return NEVER
        if not is_known_host(request.authority, self._hosts):
            self._refuse_host(request.authority)
            return NEVER
        return decision

    def _say(self, exchange: Exchange) -> None:
        """Tell once of each directory that is answered by it, where Django's URLs might be as well as files."""
        path = exchange.request.path.decode("latin-1")
        if self._static is not None and path.startswith(self._static):
            return
        below = path[len(self._paths.base or "/") :]
        directory = path[: len(path) - len(below)] + below.partition("/")[0]
        if directory not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(directory)
            logger.info("%s is answered by %s, which has such files, and not by Django.", directory, self._config.name)

    def _refuse_host(self, authority: bytes) -> None:
        host = host_of(authority).decode("latin-1")
        if host not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(host)
            logger.warning(
                "%s is not asked for a page at %s: the name is in no ALLOWED_HOSTS, and any site could have it lead"
                " here; add it there, or use localhost.",
                self._config.name,
                host,
            )

    def _refuse(self, exchange: Exchange) -> None:
        """It is broken."""
        exchange.error = BackendUnreachable(f"{self._config.name} does not run: {self._failure}")
        sentence = f"{self._config.name} does not run; the console of Duck says why."
        exchange.response.answer(*plain_error(502, sentence, accepts_html(exchange.request)))


class _Second:
    """A ResponseSink: passes an answer on, or, where it is a 404, drops it and has the exchange answered anew."""

    __slots__ = ("_again", "_exchange", "_is_dropped", "_sink")

    def __init__(self, sink: ResponseSink, exchange: Exchange, again: Callable[[Exchange], None]) -> None:
        self._sink = sink
        self._exchange = exchange
        self._again = again
        self._is_dropped = False

    def informational(self, head: ResponseHead) -> None:
        self._sink.informational(head)

    def head(self, head: ResponseHead) -> None:
        if head.status == 404:
            self._is_dropped = True
        else:
            self._sink.head(head)

    def data(self, chunk: bytes) -> None:
        if not self._is_dropped:
            self._sink.data(chunk)

    def end(self, trailers: Fields | None) -> None:
        if self._is_dropped:
            self._go()
        else:
            self._sink.end(trailers)

    def answer(self, head: ResponseHead, body: bytes) -> None:
        if head.status == 404:
            self._go()
        else:
            self._sink.answer(head, body)

    def abort(self, error: Exception) -> None:
        self._sink.abort(error)

    def upgrade(self, head: ResponseHead) -> Duplex:
        return self._sink.upgrade(head)

    def _go(self) -> None:
        """Whoever has answered lets go of the exchange first."""
        exchange = self._exchange
        exchange.response = self._sink
        exchange.producer = None
        exchange.answered_at = 0.0
        self._again(exchange)


def is_known_host(authority: bytes, allowed: Iterable[str]) -> bool:
    """Whether `authority` is a name that no stranger can have lead here: of this machine, an address, or allowed.

    `*` in ALLOWED_HOSTS names nobody: Vite refuses such names for the sake of the sources (DNS rebinding).
    """
    if is_loopback_name(authority):
        return True
    host = host_of(authority).decode("latin-1")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return True
    return any(
        host == pattern or (pattern.startswith(".") and (host.endswith(pattern) or host == pattern[1:]))
        for pattern in allowed
    )
