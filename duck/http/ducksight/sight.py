"""Sight: DuckSight in one site: its endpoints, the browsers that look on, and what is put into their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duck.http.ducksight.access import Access
from duck.http.ducksight.channel import SOCKET_PATH, Channel
from duck.http.ducksight.client import CLIENT_PATH, Client
from duck.http.ducksight.endpoints import PREFIX, Endpoints
from duck.http.ducksight.injection import Injection
from duck.http.ducksight.inspection import Inspection
from duck.http.ducksight.inspector import REQUESTS_PATH, Inspector
from duck.http.ducksight.recorder import Recorder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from duck.http.ducksight.config import DuckSightConfig
    from duck.http.ducksight.inspection import Tell
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler


class Sight:
    """On the loop of its site.

    Attributes:
        access: who may use it.
        endpoints: what answers below `/.duck/`.
        channel: the browsers that look on.
        recorder: the last requests; None where none are kept.
        is_on: False once the project has said that its DEBUG is off: then nothing of this is there.
    """

    def __init__(self, config: DuckSightConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.access = Access(config.token, config.allowed)
        self.endpoints = Endpoints(self.access)
        self.channel = Channel(config, loop)
        self.recorder: Recorder | None = None
        self.is_on = True
        self._inspection: Inspection | None = None
        self._config = config
        self._loop = loop
        self.endpoints.add(SOCKET_PATH, self.channel, is_page=False)
        self.endpoints.add(CLIENT_PATH, Client(), is_page=False)
        self._injection = Injection(config.token, lambda: self.channel.at, lambda: self.is_on)

    def record(self, handler: Handler, clock: Clock, max_body_bytes: int, *, file_server: str = "") -> None:
        """Keep the last requests, where that is wanted.

        Args:
            handler: the site, which answers those sent again.
            file_server: see `Recorder`.
        """
        config = self._config
        if config.requests:
            self.recorder = recorder = Recorder(config.requests, config.number, clock.time, file_server=file_server)
            self._inspection = inspection = Inspection(
                recorder, handler, self._loop, max_body_bytes, on_replay=config.on_replay
            )
            inspector = Inspector(config.ask or inspection.ask, config.token, self._loop, config.requests)
            self.endpoints.add(REQUESTS_PATH, inspector)

    def turn(self, on: bool) -> None:
        """Be there, or not."""
        self.is_on = on
        if not on:
            self.channel.drain()
            if self.recorder is not None:
                self.recorder.clear()

    def begin(self, exchange: Exchange) -> None:
        """An exchange has come, and nothing has been done for it yet."""
        if self.recorder is not None and self.is_on and not exchange.request.path.startswith(PREFIX):
            self.recorder.begin(exchange)

    def inspect(self, question: Mapping[str, Any], tell: Tell) -> None:
        """Answer a question about recorded requests (see `inspection`)."""
        if not self.is_on:
            tell({"error": "DEBUG is off in this project, so its requests are not recorded."})
        elif self._inspection is None:
            tell({"error": "DUCKSIGHT_REQUESTS is 0, so no request is recorded."})
        else:
            self._inspection.ask(question, tell)

    def is_asked_by_us(self, exchange: Exchange) -> bool:
        """Whether somebody at this machine asks, and no page of another origin for them."""
        request, peer = exchange.request, exchange.peer
        return self.access.is_near(request, peer) and self.access.is_own(request, peer)

    def prepare(self, exchange: Exchange) -> None:
        """Have the client put into the answer, should it be a page; before it is answered, once."""
        request, peer = exchange.request, exchange.peer
        if self.is_on and self.access.is_near(request, peer):
            self._injection.prepare(exchange, is_own=self.access.is_own(request, peer))

    def tell(self, message: Mapping[str, Any], at: int) -> None:
        """Tell the browsers (see `channel`)."""
        self.channel.tell(message, at)

    def drain(self) -> None:
        """The worker ends."""
        self.channel.drain()
