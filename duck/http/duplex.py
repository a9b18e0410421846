"""AsyncDuplex: the bytes of an upgraded connection, awaited instead of called back."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone

if TYPE_CHECKING:
    from duck.net.interfaces import Duplex

HIGH_WATER_BYTES: Final = 65_536
LOW_WATER_BYTES: Final = 16_384


class AsyncDuplex:
    """A byte stream in both directions (a `DuplexReceiver` of a `Duplex`), for coroutines.

    What is received is kept until it is asked for, at most about HIGH_WATER_BYTES: then reading pauses.
    """

    __slots__ = ("_buffered", "_chunks", "_duplex", "_ended", "_error", "_readable", "_reading", "_writable")

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._reading = True
        self._ended = False
        self._error: Exception | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        duplex.connect(self)

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._error is not None

    async def receive(self, limit: int = 65_536) -> bytes:
        """The next bytes, at most `limit`; `b""` once the peer has sent its last.

        Raises:
            ClientGone: the connection broke, and all that came before has been received.
        """
        while not self._chunks:
            if self._ended:
                return b""
            if self._error is not None:
                raise self._error
            self._readable.clear()
            await self._readable.wait()
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._buffered -= len(chunk)
        if not self._reading and self._buffered < LOW_WATER_BYTES and self._error is None:
            self._reading = True
            self._duplex.resume_reading()
        return chunk

    async def send(self, data: bytes) -> None:
        """Send `data`; returns when the peer keeps up.

        Raises:
            ClientGone: the connection is lost.
        """
        self.write(data)
        await self._writable.wait()
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> None:
        """Send `data` without waiting: for a few bytes, as a close frame."""
        if self._error is not None:
            raise self._error
        if data:
            self._duplex.write(data)

    def send_eof(self) -> None:
        """Send no more; the peer may go on."""
        if self._error is None:
            self._duplex.write_eof()

    def close(self) -> None:
        """Close when what was sent is out."""
        if self._error is None:
            self._duplex.close()

    def abort(self) -> None:
        """Close now."""
        if self._error is None:
            self._duplex.abort()

    # -- a DuplexReceiver -----------------------------------------------------------------------------------------

    def duplex_data(self, data: bytes) -> None:
        """For the connection: bytes have come."""
        self._chunks.append(data)
        self._buffered += len(data)
        if self._reading and self._buffered > HIGH_WATER_BYTES:
            self._reading = False
            self._duplex.pause_reading()
        self._readable.set()

    def duplex_eof(self) -> None:
        """For the connection: the peer sends no more."""
        self._ended = True
        self._readable.set()

    def duplex_lost(self, error: Exception | None) -> None:
        """For the connection: it is gone. In order (`error` is None) it also ends what can be received."""
        if error is None:
            self._ended = True
        self._error = ClientGone("the connection is closed")
        self._error.__cause__ = error
        self._readable.set()
        self._writable.set()

    def duplex_pause(self) -> None:
        """For the connection: the peer is slow."""
        self._writable.clear()

    def duplex_resume(self) -> None:
        """For the connection: the peer takes more."""
        self._writable.set()
