"""Sending an open file as the body of an answer: by `sendfile` where nothing changes the answer on its way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendCut, ClientGone, DuckError

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.wire.head import ResponseHead

CHUNK: Final = 262_144
# What is read before others get their turn on the loop, when nobody makes the sender pause.
TURN: Final = 4 * CHUNK

# Bytes to send as they are, or the offset and count of bytes of the file.
Part = bytes | tuple[int, int]


def call_soon(callback: Callable[[], None]) -> None:
    """Call `callback` on the running loop, after what is ready now."""
    asyncio.get_running_loop().call_soon(callback)


class FileSender:
    """Answers one exchange from one descriptor, which it closes whatever happens.

    A file that turns out shorter than its head has said cuts the connection: it is never padded, never complete.

        COPYING   chunks are read and given to `exchange.response`, unless paused
        HANDED    the stream sends from the descriptor, and says when it is done with it
        OVER      the descriptor is closed
    """

    __slots__ = ("_copying", "_descriptor", "_exchange", "_handed", "_parts", "_path", "_paused", "_soon", "_waiting")

    def __init__(
        self,
        exchange: Exchange,
        descriptor: int,
        path: str,
        parts: Sequence[Part],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._exchange = exchange
        self._descriptor = descriptor
        self._path = path
        self._parts = list(reversed(parts))  # the next one last
        self._soon = soon
        self._paused = False
        self._copying = False  # `_copy` is on the stack: a resume within it changes a flag only
        self._waiting = False  # a turn has been asked for
        self._handed = False

    def start(self, head: ResponseHead) -> None:
        """Send `head`, then all the parts."""
        exchange = self._exchange
        exchange.producer = self
        try:
            exchange.response.head(head)
        except BaseException:
            self._close()
            raise
        self._paused = exchange.paused
        self._go_on()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._go_on()

    def cancel(self, error: Exception) -> None:
        # What has been handed to the stream is closed when the stream is done with it, never under its hands: the
        # number would soon be another file's.
        if not self._handed:
            self._close()

    def _go_on(self) -> None:
        if self._descriptor < 0 or self._handed or self._copying or self._waiting:
            return
        exchange = self._exchange
        if exchange.is_over:
            self._close()
        elif exchange.response is exchange:
            self._hand()
        else:
            self._copy()

    # -- the stream sends -----------------------------------------------------------------------------------------

    def _hand(self) -> None:
        exchange = self._exchange
        while self._parts:
            part = self._parts.pop()
            if isinstance(part, bytes):
                exchange.data(part)
                if exchange.is_over:
                    self._close()
                    return
            else:
                self._handed = True
                exchange.file(self._descriptor, part[0], part[1], self._sent)
                return
        self._close()
        exchange.end(None)

    def _sent(self, error: Exception | None) -> None:
        self._handed = False
        if error is None:
            self._go_on()
        else:
            self._fail(error)

    # -- the sender reads -----------------------------------------------------------------------------------------

    def _copy(self) -> None:
        self._copying = True
        try:
            self._copy_turn()
        except OSError as error:
            self._fail(error)
        except BaseException:
            self._close()
            raise
        finally:
            self._copying = False

    def _copy_turn(self) -> None:
        exchange = self._exchange
        left = TURN
        while self._parts and not self._paused:
            part = self._parts.pop()
            if isinstance(part, bytes):
                exchange.response.data(part)
            else:
                offset, count = part
                if left <= 0:
                    self._parts.append(part)
                    self._waiting = True
                    self._soon(self._turn)
                    return
                chunk = read_at(self._descriptor, min(CHUNK, count), offset)
                if not chunk:
                    self._fail(None)
                    return
                left -= len(chunk)
                if len(chunk) < count:
                    self._parts.append((offset + len(chunk), count - len(chunk)))
                exchange.response.data(chunk)
            if exchange.is_over:
                self._close()
                return
        if not self._parts:
            self._close()
            exchange.response.end(None)

    def _turn(self) -> None:
        self._waiting = False
        self._go_on()

    # -- the end --------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception | None) -> None:
        self._close()
        if self._exchange.is_over:
            return
        cut: DuckError
        if isinstance(error, ClientGone | ConnectionError):
            cut = ClientGone("the client left while a file was sent to it")
        else:
            cut = BackendCut(
                f"{self._path} could not be sent to its end: {error or 'it became shorter meanwhile'}",
                backend=self._path,
            )
        cut.__cause__ = error
        self._exchange.response.abort(cut)

    def _close(self) -> None:
        descriptor = self._descriptor
        if descriptor >= 0:
            self._descriptor = -1
            os.close(descriptor)

    def __del__(self) -> None:
        # An exchange that somebody else aborted tells its producer nothing; it only lets go of it.
        self._close()


if hasattr(os, "pread"):
    read_at = os.pread
else:

    def read_at(descriptor: int, count: int, offset: int, /) -> bytes:
        """Up to `count` bytes at `offset`; none only at the file's end."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)
