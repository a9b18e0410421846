"""Sight: DuckSight in one site: its endpoints, the browsers that look on, and what is put into their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duck.http.ducksight.access import Access
from duck.http.ducksight.channel import SOCKET_PATH, Channel
from duck.http.ducksight.client import CLIENT_PATH, Client
from duck.http.ducksight.endpoints import Endpoints
from duck.http.ducksight.injection import Injection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from duck.http.ducksight.config import DuckSightConfig
    from duck.net.exchange import Exchange


class Sight:
    """On the loop of its site.

    Attributes:
        access: who may use it.
        endpoints: what answers below `/.duck/`.
        channel: the browsers that look on.
        is_on: False once the project has said that its DEBUG is off: then nothing of this is there.
    """

    def __init__(self, config: DuckSightConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.access = Access(config.token, config.allowed)
        self.endpoints = Endpoints(self.access)
        self.channel = Channel(config, loop)
        self.is_on = True
        self.endpoints.add(SOCKET_PATH, self.channel, is_page=False)
        self.endpoints.add(CLIENT_PATH, Client(), is_page=False)
        self._injection = Injection(config.token, lambda: self.channel.at, lambda: self.is_on)

    def turn(self, on: bool) -> None:
        """Be there, or not."""
        self.is_on = on
        if not on:
            self.channel.drain()

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
