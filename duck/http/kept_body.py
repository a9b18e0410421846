"""A request's body that is in memory already, given to an exchange as if it came from its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

_CHUNK_BYTES: Final = 65_536


class KeptBody:
    """Gives `body` to whoever reads `exchange`, in pieces, and no more while that is slow."""

    __slots__ = ("_at", "_body", "_exchange", "_feeding", "_paused")

    def __init__(self, body: bytes, exchange: Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._at = 0
        self._paused = False
        self._feeding = False

    def start(self) -> None:
        """The body is read from now on."""
        self._feed()

    def pause(self) -> None:
        """Give nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._feed()

    def _feed(self) -> None:
        if self._feeding:  # whoever took a piece has paused and resumed meanwhile
            return
        self._feeding = True
        exchange = self._exchange
        while not self._paused and self._at < len(self._body) and exchange.body_sink is not None:
            chunk = self._body[self._at : self._at + _CHUNK_BYTES]
            self._at += len(chunk)
            exchange.bytes_received += len(chunk)
            exchange.body_sink.data(chunk)
        self._feeding = False
        if not self._paused and self._at >= len(self._body) and exchange.body_sink is not None:
            exchange.body_ended(None)
