"""Front: the main server of an App, and the site of each of its workers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from duck.exceptions import SSLError
from duck.http.core.httpd.servers import HTTPServer
from duck.http.ducksight.channel import fault_after
from duck.http.ducksight.endpoints import PREFIX
from duck.http.site import Site
from duck.logs import console_width, to_console, wants_colour
from duck.net.descriptors import make_room
from duck.net.exchange_log import ExchangeLog
from duck.net.limits import Limits
from duck.net.tls import Contexts
from duck.settings import views

if TYPE_CHECKING:
    from duck.http.core.httpd.httpd import Application
    from duck.http.frontend import FrontendState
    from duck.http.site import SiteConfig
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.net.tls import TlsConfig
    from duck.proxy.upstream import Generation
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")


_Tell = Callable[["Site", Callable[[], None] | None], None]


class _Countdown:
    """Calls `done` the last of `count` times that it is called; at once, where that is none."""

    def __init__(self, count: int, done: Callable[[], None] | None) -> None:
        self._count = count
        self._done = done
        if not count and done is not None:
            done()

    def __call__(self) -> None:
        self._count -= 1
        if self._count == 0 and self._done is not None:
            self._done()


class Front:
    """Carries the state of Django to every worker; a worker that starts later gets the last one.

    For the inbox's thread, `make_handler` excepted: that is called by each worker as it starts.

    Args:
        post: of the inbox.

    Attributes:
        server: None before `start`.
        config: of every site; set before `start`.
        tls: what HTTPS is served with; set before `start`, None for no HTTPS.
        count: how many workers there are.
        restarts: 0, see `FrontProcesses`.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self.server: HTTPServer | None = None
        self.config: SiteConfig | None = None
        self.tls: TlsConfig | None = None
        self.count = 1
        self.restarts = 0
        self._post = post
        self._sites: list[tuple[asyncio.AbstractEventLoop, Site]] = []
        self._logs: list[tuple[asyncio.AbstractEventLoop, ExchangeLog]] = []
        self._lock = threading.Lock()
        self._last: _Tell | None = None
        self._browsers_told = 0  # how much
        self._fault: Mapping[str, Any] | None = None
        self._notice: Mapping[str, Any] | None = None
        self._frontend: FrontendState | None = None
        self._access = "off"
        self._secret = b""
        self._local = threading.local()

    def start(self, application: Application, settings: Settings, listeners: list[socket.socket], workers: int) -> None:
        """Serve copies of `listeners` on `workers` threads."""
        listening = views.listening(settings)
        server = HTTPServer(
            (settings["ADDRESS"], settings["PORT"]),
            application,
            domain=listening.domain,
            uses_ipv6=listening.ipv6,
            workers=workers,
        )
        self.count = workers
        server.limits = _limits(settings)
        if self.tls is not None:
            server.contexts = contexts = Contexts(self.tls)
            if self._secret:
                contexts.share_sessions(self._secret)
        server.backlog = listening.backlog
        server.trusted_proxies = list(listening.trusted_proxies)
        server.http2 = listening.http2
        self._access = views.logs(settings).access
        if self._access != "off":
            server.on_exchange = self._log
        server.on_abort = self._close_sites
        for listener in listeners:
            server.listen_socket(listener.dup())
        server.start()
        self.server = server

    def reload_tls(self, config: TlsConfig) -> None:
        """Serve new connections with `config`; where its files cannot be used, all stays as it was."""
        self.tls = config
        contexts = self.server.contexts if self.server is not None else None
        if contexts is not None:
            try:
                contexts.reload(config)
            except SSLError as error:
                logger.error("The certificates are served as before: %s", error)

    def share_sessions(self, secret: bytes) -> None:
        """Resume TLS sessions that began with whoever has `secret`, too."""
        self._secret = secret
        contexts = self.server.contexts if self.server is not None else None
        if contexts is not None:
            contexts.share_sessions(secret)

    def abort(self) -> None:
        """End the server now, where there is one."""
        if self.server is not None:
            self.server.abort()

    def kill(self) -> None:
        """The same as `abort`: threads cannot be ended by force."""
        self.abort()

    def refresh(self, done: Callable[[], None]) -> None:
        """Have `status` tell what is; `done` is called when it does, here at once."""
        done()

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """What each worker counts (`Server.snapshot`), by a name of its own."""
        return self.server.snapshots() if self.server is not None else {}

    def processes(self) -> list[dict[str, Any]]:
        """What `duck status` shows of front worker processes: these are threads."""
        return []

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        """The site of one worker, steered from now on; called on its loop."""
        assert self.config is not None
        if self._access != "off":
            self._local.log = log = ExchangeLog(
                self._access,
                to_console,
                loop.call_later,
                colour=wants_colour(sys.stderr),
                quiet_path=PREFIX,
                width=console_width,
                file_server=self.config.frontend.name if self.config.frontend is not None else "",
            )
            with self._lock:
                self._logs.append((loop, log))
        site = Site(self.config, loop, clock)
        with self._lock:
            self._sites.append((loop, site))
            last, frontend = self._last, self._frontend
            if site.sight is not None:
                site.sight.channel.note(self._browsers_told, self._fault, self._notice)
        if frontend is not None:
            site.turn_frontend(frontend)
        if last is not None:
            last(site, None)
        return site

    def switch(
        self, generation: Generation, acknowledged: Callable[[], None], left: Callable[[], None] = lambda: None
    ) -> None:
        """Send requests to `generation`; `acknowledged` is called on the inbox once every worker does so.

        `left` is called there once no worker has anything in flight any more at what `generation` does without.
        """
        self._tell(lambda site, on_left: site.switch(generation, on_left), acknowledged, left)

    def hold(self, reason: str) -> None:
        """Let requests for Django wait until the next `switch` or `broken`."""
        self._tell(lambda site, on_left: site.hold(reason))

    def broken(self, failure: Mapping[str, Any]) -> None:
        """Answer requests for Django with what its start reported."""
        self._tell(lambda site, on_left: site.broken(dict(failure)))

    def tell_browsers(self, message: Mapping[str, Any]) -> None:
        """Tell every browser that looks at a page of DuckSight's (see `duck.http.ducksight.channel`)."""
        with self._lock:
            if message["type"] != "notice":  # which makes no page old
                self._browsers_told += 1
            at = self._browsers_told
            self._fault = fault_after(self._fault, message)
            if message["type"] == "notice":
                self._notice = message
            sites = list(self._sites)
        for loop, site in sites:
            try:
                loop.call_soon_threadsafe(site.tell_browsers, message, at)
            except RuntimeError:
                pass  # its loop has ended

    def sites(self) -> list[tuple[asyncio.AbstractEventLoop, Site]]:
        """Those that answer, each with its loop, on which alone it may be asked. For any thread."""
        with self._lock:
            return list(self._sites)

    def turn_frontend(self, state: FrontendState) -> None:
        """Tell every worker how things are with the front-end server."""
        with self._lock:
            self._frontend = state
            sites = list(self._sites)
        for loop, site in sites:
            try:
                loop.call_soon_threadsafe(site.turn_frontend, state)
            except RuntimeError:
                pass  # its loop has ended

    def status(self) -> dict[str, Any]:
        """Counters of the server; empty before it was started."""
        return self.server.status() if self.server is not None else {}

    def _tell(
        self, tell: _Tell, acknowledged: Callable[[], None] | None = None, left: Callable[[], None] | None = None
    ) -> None:
        with self._lock:
            self._last = tell
            sites = list(self._sites)
        one_told = _Countdown(len(sites), acknowledged)
        one_left = _Countdown(len(sites), left)

        def told(site: Site) -> None:
            try:
                tell(site, lambda: self._post(one_left))
            finally:
                self._post(one_told)

        for loop, site in sites:
            try:
                loop.call_soon_threadsafe(told, site)
            except RuntimeError:  # its loop has ended
                self._post(one_told)
                self._post(one_left)

    def _close_sites(self) -> None:
        with self._lock:
            sites, self._sites = self._sites, []
            logs, self._logs = self._logs, []
        for loop, ends in [*((loop, site.close) for loop, site in sites), *((loop, log.close) for loop, log in logs)]:
            try:
                loop.call_soon_threadsafe(ends)
            except RuntimeError:
                pass  # its loop has ended

    def tell_log(self, exchange: Exchange) -> None:
        """Of an exchange that came over no connection; on its worker's loop."""
        if self._access != "off":
            self._log(exchange)

    def _log(self, exchange: Exchange) -> None:
        """One line of the access log; on the worker's loop."""
        self._local.log.ended(exchange)


def _limits(settings: Settings) -> Limits:
    """What clients may do; no more connections than the system has descriptors for."""
    limits = Limits(**dataclasses.asdict(views.limits(settings)))
    room = make_room(limits.max_connections)
    if room < limits.max_connections:
        # Who has left it at the default has not asked for so many.
        level = logging.WARNING if settings.is_given("MAX_CONNECTIONS") else logging.DEBUG
        logger.log(
            level,
            "The limit of open files leaves room for %d connections, and MAX_CONNECTIONS is %d; raise the limit "
            "(`ulimit -Hn`, LimitNOFILE), or lower the setting.",
            room,
            limits.max_connections,
        )
        limits = dataclasses.replace(limits, max_connections=room)
    return limits
