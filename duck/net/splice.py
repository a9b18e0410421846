"""Bytes from one socket to another inside the kernel (`splice`, Linux), between the reads and writes of transports.

A megabyte that is only passed on is copied twice and allocated once on its way through a process. Spliced, its pages
change hands by way of a pipe. Worth it for large bodies whose length is known, on sockets without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Final

from duck.exceptions import ClientGone

AVAILABLE: Final = hasattr(os, "splice")
# Setting up costs about as much as copying this much.
LEAST_BYTES: Final = 262_144
PIPE_BYTES: Final = 1 << 20
PROBE_BYTES: Final = 65_536

_F_SETPIPE_SZ: Final = 1031
_FLAGS: Final = 3  # SPLICE_F_MOVE, SPLICE_F_NONBLOCK
_MAX_KEPT_PIPES: Final = 16
_pipes: Final[list[tuple[int, int]]] = []


class Splicer:
    """Moves `count` bytes from `source`, a descriptor of its own, to `transport`; calls `done` once.

    `moved` is told of each piece. The source is closed at the end.
    """

    __slots__ = (
        "_count",
        "_done",
        "_in_pipe",
        "_loop",
        "_moved",
        "_pipe",
        "_sink",
        "_source",
        "_transport",
        "_watching",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        source: int,
        count: int,
        moved: Callable[[], None],
        done: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._source = source
        self._count = count  # not yet in the pipe
        self._in_pipe = 0
        self._moved = moved
        self._done: Callable[[Exception | None], None] | None = done
        self._pipe = _take_pipe()
        self._sink: int = transport.get_extra_info("socket").fileno()
        self._watching = False

    def start(self) -> None:
        """Begin once what the transport holds has been handed to the kernel."""
        self._transport.set_write_buffer_limits(high=0)
        self._loop.call_soon(self.proceed)

    @property
    def left(self) -> int:
        """Bytes not sent yet."""
        return self._count + self._in_pipe

    def cancel(self, error: Exception) -> None:
        """Stop: a side is gone."""
        self._finish(error)

    def proceed(self) -> None:
        """Go on: the transport's buffer is, or may be, empty."""
        if self._done is None:
            return
        if self._transport.is_closing():
            self._finish(ClientGone("the client left"))
            return
        if self._transport.get_write_buffer_size():
            return  # `resume_writing` calls again
        try:
            if not self._drain():
                return
        except OSError as error:
            gone = ClientGone("the client left")
            gone.__cause__ = error
            self._finish(gone)
            return
        if self._count == 0:
            self._finish(None)
        elif not self._watching:
            self._watching = True
            self._loop.add_reader(self._source, self._readable)

    def _readable(self) -> None:
        """The source has bytes: into the pipe, and on."""
        try:
            size = os.splice(self._source, self._pipe[1], min(self._count, PIPE_BYTES), flags=_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(error)
            return
        if size == 0:
            self._finish(EOFError("the answer ended before its end"))
            return
        self._count -= size
        self._in_pipe += size
        self._moved()
        self.proceed()

    def _drain(self) -> bool:
        """Empty the pipe into the client's socket; False when the client takes no more for now."""
        while self._in_pipe:
            try:
                self._in_pipe -= os.splice(self._pipe[0], self._sink, self._in_pipe, flags=_FLAGS)
            except BlockingIOError:
                # A small piece through the transport, whose "I am empty again" tells when to go on.
                piece = os.read(self._pipe[0], min(self._in_pipe, PROBE_BYTES))
                self._in_pipe -= len(piece)
                self._unwatch()
                self._transport.write(piece)
                if self._transport.get_write_buffer_size():
                    return False
        return True

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._source)

    def _finish(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        self._unwatch()
        os.close(self._source)
        _give_pipe(self._pipe, self._in_pipe == 0)
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits()
        done(error)


def can_splice(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the bytes of `transport` may bypass it: a plain socket, on a system that can."""
    return AVAILABLE and transport is not None and transport.get_extra_info("sslcontext") is None


def _take_pipe() -> tuple[int, int]:
    if _pipes:
        return _pipes.pop()
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with contextlib.suppress(OSError):  # the user's share of pipe memory may be used up: a smaller one does, too
        fcntl.fcntl(ends[1], _F_SETPIPE_SZ, PIPE_BYTES)
    return ends


def _give_pipe(ends: tuple[int, int], is_empty: bool) -> None:
    if is_empty and len(_pipes) < _MAX_KEPT_PIPES:
        _pipes.append(ends)
    else:
        for end in ends:
            os.close(end)
