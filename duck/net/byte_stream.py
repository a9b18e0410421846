"""What every connection that carries bytes as they are does with its transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ByteStream:
    """The half of a `Duplex` that faces its transport; what it receives the classes on top of it deliver."""

    __slots__ = ("_paused", "_transport")

    def __init__(self, transport: asyncio.Transport | None, *, paused: bool = False) -> None:
        self._transport = transport
        self._paused = paused

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    @property
    def writer(self) -> Callable[[bytes], object]:
        """What `write` calls: 0.05 us less for whoever passes much on, and stops when the connection is lost."""
        return self._transport.write if self._transport is not None else self.write

    def write_eof(self) -> None:
        """Send no more, and go on receiving."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def pause_reading(self) -> None:
        """Receive no more for now."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive again."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()
