"""MicroApp: a further server of the same process, with views of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from duck.app.address import absolute_url, check_address
from duck.http.core.asgi import ASGI
from duck.http.core.httpd.servers import MicroHTTPServer
from duck.http.handlers import AppHandler
from duck.http.routing import re_path
from duck.services.background import BackgroundWorkers

if TYPE_CHECKING:
    from duck.app.app import App
    from duck.http.request import HttpRequest
    from duck.http.routing import Route
    from duck.net.clock import Clock
    from duck.net.interfaces import Handler


class MicroApp:
    """A small application on an address of its own.

    It answers with `urlpatterns`; without them, with `view` for every path, which a subclass overrides. It runs until
    `stop`, or until its `parent_app` ends.

    Args:
        addr: IP address or host name to listen at.
        port: to listen at; 0 takes a free one.
        parent_app: the App it belongs to.
        domain: the public name; `addr` by default.
        uses_ipv6: resolve a host name to IPv6.
        enable_https: serve HTTPS, with the certificate that the settings name.
        no_logs: keep its requests out of the access log.
        workers: worker threads; None is one.
        force_worker_processes: processes instead of threads; this version has none and says so.
        urlpatterns: its routes (`duck.urls.path`).
        settings: of the application lane, by name: DEBUG, ALLOWED_HOSTS (by default every host), MIDDLEWARES.

    Raises:
        ApplicationError: the address is none.
        SSLError: HTTPS was asked for, and there is no certificate that can be used.
    """

    def __init__(
        self,
        addr: str = "localhost",
        port: int = 8080,
        parent_app: App | None = None,
        domain: str | None = None,
        uses_ipv6: bool = False,
        enable_https: bool = False,
        no_logs: bool = True,
        workers: int | None = None,
        force_worker_processes: bool = False,
        *,
        urlpatterns: Iterable[Route] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_address(addr, port, uses_ipv6=uses_ipv6)
        self.addr = addr
        self.port = port
        self.parent_app = parent_app
        self.domain = domain or addr
        self.uses_ipv6 = uses_ipv6
        self.enable_https = enable_https
        self.background = BackgroundWorkers()
        self.urlpatterns = list(urlpatterns) if urlpatterns is not None else [re_path("", self.view)]
        self.settings = {"ALLOWED_HOSTS": ["*"], **(settings or {}), "URLPATTERNS": self.urlpatterns}
        self.server = MicroHTTPServer(
            (addr, port),
            self,
            domain=self.domain,
            uses_ipv6=uses_ipv6,
            enable_ssl=enable_https,
            no_logs=no_logs,
            workers=workers,
            force_worker_processes=force_worker_processes,
        )
        if parent_app is not None:
            parent_app.microapps.append(self)

    def view(self, request: HttpRequest) -> Any:
        """Answers every path where no `urlpatterns` were given; 404 unless a subclass says otherwise."""
        from duck.http.response import ErrorResponse

        return ErrorResponse(404, request=request)

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        """What answers the exchanges of one worker; called on its loop."""
        return AppHandler(self, ASGI(self.settings), debug=bool(self.settings.get("DEBUG")))

    def run(self, run_forever: bool = False) -> None:
        """Serve; with `run_forever` it returns after `stop`, else at once.

        Raises:
            AddressInUse: another process holds the port.
        """
        self.server.start()
        self.port = self.server.server_address[1]
        if run_forever:
            self.server.wait()

    def stop(self, deadline_s: float = 10.0) -> None:
        """Finish what runs for at most `deadline_s` seconds, then end. For any thread but its workers'."""
        self.server.shutdown(deadline_s)
        self.background.stop(wait=False)

    @property
    def server_up(self) -> bool:
        """Whether connections are accepted."""
        return self.server.running and bool(self.server.get_listeners())

    @property
    def absolute_uri(self) -> str:
        """Where it is reached, by its public name."""
        return absolute_url("https" if self.enable_https else "http", self.domain, self.port)

    @property
    def absolute_ws_uri(self) -> str:
        """Where its WebSockets are reached."""
        return absolute_url("wss" if self.enable_https else "ws", self.domain, self.port)

    def build_absolute_uri(self, path: str) -> str:
        """The URL of `path` here."""
        return f"{self.absolute_uri}/{path.lstrip('/')}"
