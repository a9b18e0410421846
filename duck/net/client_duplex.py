"""A client's connection once HTTP was left: bytes both ways, for whoever the upgrade was for (RFC 9110 §7.8)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone
from duck.net.byte_stream import ByteStream
from duck.net.clock import NEVER

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.net.interfaces import DuplexReceiver
    from duck.net.server import Server

MAX_EARLY_BYTES: Final = 65_536


class ClientDuplex(ByteStream):
    """The protocol of an upgraded connection: a `Duplex`, and one of the server's connections until its end.

    Args:
        early: what the client sent right after its request; kept, like all that comes before `connect`, up to
            MAX_EARLY_BYTES.
        eof: the client has closed its half already.
    """

    __slots__ = (
        "_early",
        "_eof",
        "_exchange",
        "_receiver",
        "_server",
        "_unsent",
        "_write_paused",
        "deadline",
    )

    def __init__(
        self, server: Server, transport: asyncio.Transport, exchange: Exchange, early: bytes, *, eof: bool, paused: bool
    ) -> None:
        ByteStream.__init__(self, transport, paused=paused)
        self._server = server
        self._exchange = exchange
        self._early = early
        self._eof = eof
        self._unsent = 0
        self._write_paused = False
        self._receiver: DuplexReceiver | None = None
        self.deadline = NEVER

    # -- asyncio.Protocol, by its methods -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the connection was made before."""

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is not None:
            receiver.duplex_data(data)
            return
        self._early += data
        if len(self._early) > MAX_EARLY_BYTES:
            self.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        if self._receiver is not None:
            self._receiver.duplex_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._server.closed(self)
        self._transport = None
        self.deadline = NEVER
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.duplex_lost(error)
        self._exchange.ended()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._await_taken()
        if self._receiver is not None:
            self._receiver.duplex_pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self.deadline = NEVER
        if self._receiver is not None:
            self._receiver.duplex_resume()

    # -- one of the server's connections --------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """What was written was not taken in time; a slow client takes some of it."""
        if self.unsent < self._unsent:
            self._await_taken()
            return
        seconds = self._server.limits.send_timeout_s
        self._exchange.error = ClientGone(f"the client took nothing of its bytes for {seconds:g} s and was cut off")
        self.abort()

    def _await_taken(self) -> None:
        """Set the deadline until which the client has to take something of what waits for it."""
        self._unsent = self.unsent
        self.deadline = self._server.clock.time() + self._server.limits.send_timeout_s

    def drain(self) -> None:
        """Whoever has the bytes ends them."""

    def cut(self) -> None:
        """Close at once: Duck stops."""
        self._exchange.error = ClientGone("Duck stopped before the connection had ended")
        self.abort()

    # -- Duplex ---------------------------------------------------------------------------------------------------

    def connect(self, receiver: DuplexReceiver) -> None:
        """Deliver to `receiver`, first what came early."""
        if self._transport is None:
            receiver.duplex_lost(None)
            return
        self._receiver = receiver
        if self._write_paused:
            receiver.duplex_pause()
        early, self._early = self._early, b""
        self.resume_reading()
        if early:
            receiver.duplex_data(early)
        if self._eof:
            receiver.duplex_eof()

    def close(self) -> None:
        """Send what was written, then close."""
        if self._transport is not None:
            self._await_taken()
            self._transport.close()
