"""Overview: health, figures and state of an App, answered on an address of their own beside the site's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duck.app.address import port_beside
from duck.app.control import report
from duck.http.admin import Admin
from duck.net.limits import Limits
from duck.net.listener import open_listeners, uri_of
from duck.net.worker import Worker
from duck.services.metrics import Metrics
from duck.services.ports import who_holds
from duck.settings import views
from duck.settings.listen import ListenAddress

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle
    from duck.net.clock import Clock
    from duck.net.interfaces import Handler
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

# Few ask here, and none for long.
_LIMITS = Limits(max_body_bytes=0, max_connections=64)
_BACKLOG = 64


class Overview:
    """The listeners from `open` on, the answers from `start` on; both until `close`.

    For the inbox's thread; its own thread is the admin address's loop.

    Attributes:
        metrics: what was counted; from `start` on.
        addresses: where it listens, as URLs.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.metrics: Metrics | None = None
        self.addresses: list[str] = []
        self._lifecycle = lifecycle
        self._sockets: list[socket.socket] = []
        self._worker: Worker | None = None

    def open(self, settings: Settings, port: int, inherited: Sequence[int] | None) -> None:
        """Bind what the settings say; `port` is the site's own.

        Raises:
            AddressInUse, ApplicationError: nothing stays open.
        """
        if inherited is not None:
            addresses = [ListenAddress("fd", fd=descriptor) for descriptor in inherited]
        else:
            addresses = _addresses(settings, port)
        self._sockets = open_listeners(addresses, backlog=_BACKLOG, holder_of=who_holds, option="--admin-listen")
        self.addresses = [uri_of(listener) for listener in self._sockets]

    def start(self, version: str, kept: Mapping[str, Any] | None) -> None:
        """Answer; `kept` is what the Duck that this process was before counted."""
        self.metrics = Metrics(version, self._lifecycle.began, kept=kept)
        if self._sockets:
            self._worker = Worker("duck-admin", self._sockets, self._make_handler, _LIMITS)
            self._worker.start()

    def close(self) -> None:
        """Answer no more."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        sockets, self._sockets = self._sockets, []
        for listener in sockets:
            listener.close()

    def hand_over(self) -> dict[str, Any]:
        """What the next Duck of this process needs: the listeners, made to outlive the exec, and the counts."""
        self._gather()
        for listener in self._sockets:
            listener.set_inheritable(True)
        return {
            "listeners": [listener.fileno() for listener in self._sockets],
            "counts": self.metrics.counts if self.metrics is not None else {},
        }

    def worker_ended(self, source: str) -> None:
        """A front worker has gone; what it counted stays counted."""
        if self.metrics is not None:
            self._gather()
            self.metrics.fronts.ended(source)

    def dispatcher_ended(self, source: str) -> None:
        """The same of a dispatcher of automations."""
        if self.metrics is not None:
            self._gather()
            self.metrics.automations.ended(source)

    def _make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        return Admin(
            loop,
            not_ready=lambda: self._lifecycle.not_ready,
            metrics=lambda tell: self._ask(self._exposition, tell),
            status=lambda tell: self._ask(lambda: report(self._lifecycle), tell),
        )

    def _ask(self, what: Callable[[], Any], tell: Callable[[Any], None]) -> None:
        """From the admin address's thread: have `what` told once the front workers have said how it is."""
        lifecycle = self._lifecycle
        lifecycle.inbox.post(lambda: lifecycle.refresh(lambda: tell(what())))

    def _gather(self) -> None:
        if self.metrics is not None:
            for source, snapshot in self._lifecycle.front.snapshots().items():
                self.metrics.fronts.update(source, snapshot)
            for source, snapshot in self._lifecycle.automations.snapshots().items():
                self.metrics.automations.update(source, snapshot)

    def _exposition(self) -> bytes:
        assert self.metrics is not None
        self._gather()
        said = report(self._lifecycle)
        automations = self._lifecycle.automations
        restarts = {"front": self._lifecycle.front.restarts, "django": said.get("django", {}).get("restarts", 0)}
        if "automations" in said:
            restarts["automations"] = automations.restarts
        return self.metrics.exposition(
            state=said["state"], processes=said["processes"], restarts=restarts, succeeded=automations.succeeded
        )


def _addresses(settings: Settings, port: int) -> list[ListenAddress]:
    admin = views.production(settings).admin
    if admin is None:
        return []
    if isinstance(admin, ListenAddress):
        return [admin]
    # Beside the site: the next port, or a free one where the site's own was free to choose or is none.
    chosen = settings["PORT"] != 0 and 0 < port < 65535
    if port < 1024 and not settings.is_given("PORT"):
        port = settings["PORT"]  # who was handed port 443 may not have the right to 444
    return [ListenAddress("http", host="127.0.0.1", port=port_beside(settings, port) if chosen else 0)]
