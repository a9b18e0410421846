"""Where Django's finders have a static file: asked of the worker over the link, in DEBUG."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from duck.net.clock import NEVER

if TYPE_CHECKING:
    from duck.exceptions import BackendError
    from duck.net.exchange import Exchange
    from duck.net.link_connection import LinkConnection
    from duck.net.measure import Measure
    from duck.proxy.handler import ProxyHandler


class LinkFinder:
    """A `Finder` that asks a process of the generation that serves."""

    def __init__(self, proxy: ProxyHandler) -> None:
        self._proxy = proxy

    def __call__(self, name: str, exchange: Exchange, found: Callable[[bytes], None]) -> None:
        """Ask for `name`; `found` gets the path, or nothing where there is none or nobody can be asked."""
        backends = self._proxy.backends
        finder = None if backends is None else backends.finder
        if finder is None or self._proxy.gate.state != "open":
            found(b"")
            return

        def lost() -> None:
            # The process was replaced meanwhile: the next one knows. Else the views may answer.
            if exchange.is_over or self._proxy.backends is backends:
                found(b"")
            else:
                self(name, exchange, found)

        finder.links.acquire(_LookUp(name, found, lost))


class _LookUp:
    """One question: a Waiter and a LinkCall."""

    __slots__ = ("_found", "_lost", "_name", "deadline", "queued_at")

    def __init__(self, name: str, found: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._name = name
        self._found = found
        self._lost = lost
        self.queued_at = 0.0
        self.deadline = NEVER

    def ready(self, connection: LinkConnection) -> None:
        connection.find(self, self._name)

    def refused(self, error: BackendError) -> None:
        self._lost()

    def link_found(self, path: bytes) -> None:
        self._found(path)

    def link_lost(self, error: Exception) -> None:
        self._lost()

    def link_cut(self, reason: str) -> None:
        self._lost()

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        raise AssertionError("an answer to a look-up")

    def link_data(self, chunk: bytes) -> None:
        raise AssertionError("an answer to a look-up")

    def link_end(self) -> None:
        raise AssertionError("an answer to a look-up")

    def link_measure(self, measure: Measure) -> None:
        raise AssertionError("an answer to a look-up")
