"""A pipe in memory: two Duplex ends, so that what speaks callbacks on one side can be awaited on the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duck.net.interfaces import DuplexReceiver


class PipeEnd:
    """One end (a `Duplex`): what is written here, the other end receives, in a later turn of the loop.

    A turn later, so that two ends that answer each other never nest; what waits is bounded by the writers, which are
    told to pause while the other end does not read.
    """

    __slots__ = ("_closed", "_events", "_loop", "_other", "_reading", "_receiver", "_scheduled")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._other: PipeEnd | None = None
        self._receiver: DuplexReceiver | None = None
        self._events: deque[bytes | None] = deque()
        self._reading = True
        self._scheduled = False
        self._closed = False

    def connect(self, receiver: DuplexReceiver) -> None:
        """Deliver to `receiver` from now on."""
        self._receiver = receiver
        if self._other is not None and not self._other._reading:
            receiver.duplex_pause()
        self._schedule()

    def write(self, data: bytes) -> None:
        """Send to the other end."""
        if not self._closed and self._other is not None:
            self._other._events.append(data)
            self._other._schedule()

    @property
    def writer(self) -> Callable[[bytes], object]:
        """`write`."""
        return self.write

    def write_eof(self) -> None:
        """Send no more."""
        if not self._closed and self._other is not None:
            self._other._events.append(None)
            self._other._schedule()

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not received yet."""
        return sum([len(event) for event in self._other._events if event]) if self._other is not None else 0

    def pause_reading(self) -> None:
        """Receive nothing for now; the other end is told to write less."""
        self._reading = False
        if self._other is not None and self._other._receiver is not None:
            self._other._receiver.duplex_pause()

    def resume_reading(self) -> None:
        """Receive again."""
        self._reading = True
        if self._other is not None and self._other._receiver is not None:
            self._other._receiver.duplex_resume()
        self._schedule()

    def close(self) -> None:
        """Close both ends, after the other has received what was written."""
        if not self._closed:
            self._closed = True
            if self._other is not None:
                self._other._schedule()
            self._schedule()

    def abort(self) -> None:
        """Close both ends; what was not received is dropped."""
        if self._other is not None:
            self._other._events.clear()
        self.close()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        receiver = self._receiver
        if receiver is None:
            return
        if not self._closed:
            while self._events and self._reading:
                event = self._events.popleft()
                if event is None:
                    receiver.duplex_eof()
                else:
                    receiver.duplex_data(event)
        other = self._other
        if self._closed or (other is not None and other._closed and not self._events):
            self._closed = True
            self._receiver = None
            self._events.clear()
            receiver.duplex_lost(None)


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Both ends of a new pipe, on the running loop."""
    one, two = PipeEnd(), PipeEnd()
    one._other, two._other = two, one
    return one, two
