"""The MicroApp that sends HTTP clients to the HTTPS address of the same resource, and how an App runs it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from duck.app.address import is_tcp, listen_addresses
from duck.app.microapp import MicroApp
from duck.exceptions import SettingsError
from duck.http.challenges import ChallengeFiles
from duck.http.https_redirect import PERMANENT, HttpsRedirect
from duck.logs import to_console, wants_colour
from duck.net.exchange_log import ExchangeLog
from duck.net.listener import open_listeners, uri_of
from duck.services.ports import who_holds
from duck.settings import views
from duck.settings.listen import ListenAddress

if TYPE_CHECKING:
    import socket

    from duck.app.app import App
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

NEEDS_HTTPS: Final = (
    "FORCE_HTTPS needs ENABLE_HTTPS, or there is nothing to redirect to; where another server ends TLS in front of"
    " Duck, have that one redirect."
)


class ForceHTTPSMicroApp(MicroApp):
    """Answers every request with 308 to the same path and query at `https_domain`, byte for byte.

    The client's Host is kept where it is one of `names`; otherwise the target is the public name, so that no one can
    be sent elsewhere.

    Args:
        https_domain, https_port: where HTTPS is served.
        names: hosts that it is served for, too.
        status: of GET and HEAD, 301 or 308.
        is_remembered: whether browsers may keep the answer.
        challenges: directory of http-01 challenges; None for none.
        access: how requests are shown, unless `no_logs`.
    """

    def __init__(
        self,
        addr: str,
        port: int,
        *,
        https_domain: str,
        https_port: int = 443,
        names: Iterable[str] = (),
        status: int = PERMANENT,
        is_remembered: bool = True,
        challenges: str | None = None,
        access: str = "off",
        **more: Any,
    ) -> None:
        super().__init__(addr, port, **more)
        self._redirect = HttpsRedirect(
            https_domain,
            https_port,
            names,
            status=status,
            is_remembered=is_remembered,
            challenges=ChallengeFiles(challenges) if challenges is not None else None,
        )
        self._access = access
        self._local = threading.local()
        if access != "off":
            self.server.on_exchange = self._log

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        """The redirect."""
        if self._access != "off":
            self._local.log = ExchangeLog(self._access, to_console, loop.call_later, colour=wants_colour(sys.stderr))
        return self._redirect

    def _log(self, exchange: Exchange) -> None:
        self._local.log.ended(exchange)


class Redirect:
    """The redirect of an App: its sockets, bound with the App's own, and the MicroApp once it runs.

    Attributes:
        addresses: where it listens, as URLs; empty where there is none.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.addresses: list[str] = []
        self.sockets: list[socket.socket] = []
        self._app = app
        self._settings = settings

    def open(self, inherited: Sequence[int] | None, *, is_handed: bool = False) -> None:
        """Bind what the settings say, or take over descriptors that are open already.

        Where the site's sockets were handed over (`is_handed`) and none for this, it is left out, unless it was asked
        for.

        Raises:
            AddressInUse, ApplicationError: nothing stays open.
            SettingsError: there is no HTTPS to redirect to.
        """
        view = views.https(self._settings)
        left_out = is_handed and inherited is None and not self._settings.is_given("FORCE_HTTPS")
        if not view.redirect or left_out:
            return
        if not view.enabled:
            raise SettingsError(NEEDS_HTTPS)
        listening = views.listening(self._settings)
        if inherited is not None:
            wanted = [ListenAddress("fd", fd=descriptor) for descriptor in inherited]
        else:
            hosts = dict.fromkeys(address.host for address in listen_addresses(listening) if address.scheme == "https")
            port = view.redirect_port
            wanted = [ListenAddress("http", host=host, port=port) for host in hosts or ("*",)]
        self.sockets = open_listeners(
            wanted, backlog=listening.backlog, holder_of=who_holds, option="FORCE_HTTPS_BIND_PORT"
        )
        self.addresses = list(dict.fromkeys(uri_of(listener) for listener in self.sockets))

    def start(self, port: int, names: Iterable[str], challenges: str | None, *, tell: bool = True) -> None:
        """Redirect to HTTPS at `port`; nothing happens where it runs, or nothing is to be redirected."""
        app, settings = self._app, self._settings
        if not self.sockets or app.force_https_server_up:
            return
        view, production = views.https(settings), views.production(settings)
        domain = views.listening(settings).domain
        microapp = app.force_https_app = ForceHTTPSMicroApp(
            app.addr,
            self.sockets[0].getsockname()[1] if is_tcp(self.sockets[0]) else 0,
            https_domain=domain.strip("[]"),
            https_port=port,
            names=names,
            status=view.redirect_status,
            is_remembered=production.serves,
            challenges=challenges,
            access=views.logs(settings).access if app.enable_force_https_logs else "off",
            parent_app=app,
            domain=domain,
            no_logs=not app.enable_force_https_logs,
            workers=app.force_https_workers,
            force_worker_processes=app.force_https_force_worker_processes,
        )
        microapp.server.name = "duck-redirect"
        for listener in self.sockets:
            microapp.server.listen_socket(listener.dup())
        microapp.run()
        if tell:
            logger.info("%s is redirected to HTTPS.", " and ".join(self.addresses))

    def hand_over(self) -> list[int]:
        """The listeners, made to outlive an exec."""
        for listener in self.sockets:
            listener.set_inheritable(True)
        return [listener.fileno() for listener in self.sockets]

    def close(self) -> None:
        """Listen no more."""
        sockets, self.sockets = self.sockets, []
        self.addresses = []
        for listener in sockets:
            listener.close()
