"""A file to a client, by the kernel alone (`sendfile`), between the writes of a transport.

uvloop has no `loop.sendfile` and lets nobody watch a descriptor that one of its transports owns. So the descriptor is
written to directly while it takes everything; once it is full, the next small piece goes through the transport, whose
own "I am empty again" tells when to go on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

# What one `sendfile` may move: the loop serves others in between.
PIECE_BYTES: Final = 1 << 20
# What goes through the transport to learn when the socket takes more again.
PROBE_BYTES: Final = 65_536
# After this much in one go the loop gets its turn.
TURN_BYTES: Final = 8 << 20


class FileSender:
    """Sends `count` bytes of `descriptor` from `offset`; calls `done` once, with None or the error."""

    __slots__ = ("_count", "_descriptor", "_done", "_loop", "_offset", "_raw", "_socket", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        offset: int,
        count: int,
        done: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._descriptor = descriptor
        self._offset = offset
        self._count = count
        self._done: Callable[[Exception | None], None] | None = done
        raw = transport.get_extra_info("socket")
        self._socket = -1 if raw is None else raw.fileno()
        # Under TLS the kernel has not the keys: bytes go through the transport.
        self._raw = hasattr(os, "sendfile") and self._socket >= 0 and transport.get_extra_info("sslcontext") is None

    def start(self) -> None:
        """Begin once what the transport holds has been handed to the kernel."""
        self._transport.set_write_buffer_limits(high=0)
        # uvloop writes at the end of this turn; in the next one its buffer tells what is left.
        self._loop.call_soon(self.proceed)

    @property
    def left(self) -> int:
        """Bytes not sent yet."""
        return self._count

    def cancel(self, error: Exception) -> None:
        """Stop: the connection is gone."""
        self._finish(error)

    def proceed(self) -> None:
        """Go on: the transport's buffer is, or may be, empty."""
        turn = TURN_BYTES
        while self._done is not None:
            if self._transport.is_closing():
                self._finish(ConnectionResetError("the client left"))
                return
            if self._count == 0:
                self._finish(None)
                return
            if self._transport.get_write_buffer_size():
                return  # `resume_writing` calls again
            if turn <= 0:
                self._loop.call_soon(self.proceed)
                return
            try:
                sent = self._send(min(self._count, PIECE_BYTES)) if self._raw else 0
                if sent == 0:
                    sent = self._probe()
            except OSError as error:
                self._finish(error)
                return
            turn -= sent
            self._offset += sent
            self._count -= sent

    def _send(self, size: int) -> int:
        try:
            return os.sendfile(self._socket, self._descriptor, self._offset, size)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in (22, 38, 95):  # EINVAL, ENOSYS, EOPNOTSUPP: this file or socket cannot
                self._raw = False
                return 0
            raise

    def _probe(self) -> int:
        data = os.pread(self._descriptor, min(self._count, PROBE_BYTES), self._offset)
        if not data:
            raise OSError("the file became shorter while it was sent")
        self._transport.write(data)
        return len(data)

    def _finish(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()
            done(error)
