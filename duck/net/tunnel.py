"""Two byte streams, each handed on to the other (RFC 9110 §7.8): paused both ways, half-closed both ways.

    OPEN ──both ended, lost, idle, close──────────────> CLOSED ──the backend took the rest, or has had its time──> gone
      └──go_away──> LEAVING ──both answered, deadline────┘

OPEN     bytes pass
LEAVING  each side was told, or is told behind the frame that is under way, that this end goes away (WebSocket's 1001);
         what still comes is thrown away, until both sides have said the same, for CONFIRM_S once both were told
CLOSED   what was written is still sent; then both connections are closed
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendCut, ClientGone, DuckError
from duck.net.clock import NEVER
from duck.net.farewell import CONFIRM_S
from duck.wire.ws import GOING_AWAY, FrameFollower, close_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from duck.net.clock import Clock
    from duck.net.farewell import Farewell
    from duck.net.interfaces import Duplex

# After its client has closed its half a backend may be silent this long before it closes its own.
HALF_CLOSED_S: Final = 60.0
# A backend that has closed its half has died, as a rule, and a WebSocket server that has closed says nothing more: its
# client may be silent this long after it took the last bytes.
BACKEND_ENDED_S: Final = 5.0
# How long a backend may take nothing of what was written to it before its tunnel was closed.
FLUSH_S: Final = 10.0

OPEN: Final = "open"
LEAVING: Final = "leaving"
CLOSED: Final = "closed"

# Of one direction, while its tunnel leaves.
_RELAYS: Final = 0
_ENDS_ITS_FRAME: Final = 1
_HAS_SAID: Final = 2


class _End(FrameFollower):
    """One side of a tunnel: what arrives here leaves at the other, and its frames are followed."""

    __slots__ = ("_direction", "_tunnel", "duplex", "ended", "is_backend", "other", "write")

    def __init__(self, tunnel: Tunnel, duplex: Duplex, *, is_backend: bool) -> None:
        FrameFollower.__init__(self, masked=not is_backend)
        self._tunnel = tunnel
        self._direction = _RELAYS
        self.duplex = duplex
        self.is_backend = is_backend
        self.other: _End = self
        self.write = duplex.writer  # the other's, once it is known
        self.ended = False

    def join(self, other: _End) -> None:
        """What arrives here leaves at `other`."""
        self.other = other
        self.write = other.duplex.writer

    def duplex_data(self, data: bytes) -> None:
        if self._direction:
            self._data_while_leaving(data)
            return
        # `feed`, written out: its call costs as much as it does itself; and most messages come alone and whole.
        begin = self.received
        received = self.received = begin + len(data)
        if received > self.next_head:
            if (
                begin == self.next_head
                and received > begin + 3
                and data[1] == self.code16
                and (data[2] << 8 | data[3]) + self.extra16 + begin == received
            ):
                self.next_head = received
            else:
                self.follow(data)
        self.write(data)

    def duplex_eof(self) -> None:
        if self.ended:
            return
        self.ended = True
        self.other.duplex.write_eof()
        self._tunnel.half_closed(self)

    def duplex_lost(self, error: Exception | None) -> None:
        self._tunnel.lost(self, error)

    def duplex_pause(self) -> None:
        if self.other._direction != _HAS_SAID:
            self.other.duplex.pause_reading()

    def duplex_resume(self) -> None:
        self.other.duplex.resume_reading()

    # -- while the tunnel leaves ----------------------------------------------------------------------------------

    def go_away(self) -> None:
        """Tell the other side that this one goes away: now, or behind the frame that is under way."""
        if self.ended:
            self._direction = _HAS_SAID
            if self.other.has_told:
                self._tunnel.told()
        elif self.is_between_frames:
            self._say_so()
        else:
            self._direction = _ENDS_ITS_FRAME

    def _say_so(self) -> None:
        self._direction = _HAS_SAID
        if not self.is_closed:  # else this side has said so itself, and nothing may follow
            self.write(close_frame(GOING_AWAY, b"" if self.is_backend else os.urandom(4)))
        self.duplex.resume_reading()  # what still comes is not written to the other side, however slow that is
        if self.other.has_told:
            self._tunnel.told()

    def _data_while_leaving(self, data: bytes) -> None:
        if self._direction == _ENDS_ITS_FRAME:
            size = self.feed_frame(data)
            if size < 0:
                self.write(data)
                return
            if size:
                self.write(data[:size])
            self._say_so()
            data = data[size:]
        if data:
            self.feed(data)
        self._tunnel.check_left()

    @property
    def has_told(self) -> bool:
        """Whether the other side was told that this one goes away, or knows."""
        return self._direction == _HAS_SAID

    @property
    def has_left(self) -> bool:
        """Whether this side will say nothing more."""
        return self.ended or self.is_closed


class Tunnel:
    """Joins `client` and `backend` until both have ended, one is lost, or nothing has moved for `idle_s` seconds.

    Attributes:
        state: see the diagram above.
        error: why it did not end by itself.
    """

    __slots__ = (
        "_backend",
        "_client",
        "_clock",
        "_idle_s",
        "_moved",
        "_on_end",
        "_unsent",
        "deadline",
        "error",
        "state",
    )

    def __init__(
        self, client: Duplex, backend: Duplex, clock: Clock, idle_s: float, on_end: Callable[[Tunnel], None]
    ) -> None:
        self._client = _End(self, client, is_backend=False)
        self._backend = _End(self, backend, is_backend=True)
        self._client.join(self._backend)
        self._backend.join(self._client)
        self._clock = clock
        self._idle_s = idle_s
        self._moved = 0  # bytes both ways, when it was looked at last
        self._unsent = 0  # bytes that waited for a side to take them, when that was looked at last
        self._on_end: Callable[[Tunnel], None] | None = on_end
        self.state = OPEN
        self.error: DuckError | None = None
        self.deadline = clock.time() + idle_s if idle_s else NEVER
        clock.watched.add(self)
        # Each side may deliver at once what came early, so both ends must know each other before.
        backend.connect(self._backend)
        if self._on_end is not None:
            client.connect(self._client)

    @property
    def bytes_up(self) -> int:
        """Bytes received from the client."""
        return self._client.received

    @property
    def bytes_down(self) -> int:
        """Bytes received from the backend."""
        return self._backend.received

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, by itself or by a side."""
        return self.state is CLOSED

    @property
    def is_half_closed(self) -> bool:
        """One side, and only one, has said that it will send no more."""
        return self._client.ended != self._backend.ended

    # -- deadlines ------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Close an idle tunnel, or one whose sides take too long to end; one that moved has its time again."""
        if self.state is CLOSED:
            # The client's connection has a deadline of its own.
            unsent = self._backend.duplex.unsent
            if unsent < self._unsent:
                self._unsent = unsent
                self.deadline = now + FLUSH_S
            else:
                self._backend.duplex.abort()
            return
        moved = self.bytes_up + self.bytes_down
        if self.state is LEAVING:
            self.close()
        elif self._backend.ended:
            unsent = self._client.duplex.unsent
            if moved == self._moved and unsent >= self._unsent:
                self.close()
                return
            self._unsent = unsent
            self.deadline = now + BACKEND_ENDED_S
        elif moved != self._moved:
            idle_s = self._idle_s or NEVER
            self.deadline = now + (min(idle_s, HALF_CLOSED_S) if self._client.ended else idle_s)
        else:
            if not self._client.ended:
                self.error = ClientGone(f"nothing passed for {self._idle_s:g} s")
            self.close()
        self._moved = moved

    # -- the end --------------------------------------------------------------------------------------------------

    def half_closed(self, end: _End) -> None:
        """`end` will send no more."""
        if self.state is LEAVING:
            self.check_left()
        elif not self.is_half_closed:
            self.close()
        elif end.is_backend:
            self._moved = self.bytes_up + self.bytes_down
            self._unsent = self._client.duplex.unsent
            self.deadline = min(self.deadline, self._clock.time() + BACKEND_ENDED_S)
        else:
            self.deadline = min(self.deadline, self._clock.time() + HALF_CLOSED_S)

    def go_away(self, within_s: float = CONFIRM_S) -> None:
        """Close by RFC 6455 §7, within `within_s` seconds; what is no WebSocket just ends.

        So long may a frame take that is under way; both sides have CONFIRM_S of it to confirm.
        """
        if self.state is not OPEN:
            return
        self.error = ClientGone("Duck went away")
        if self._client.is_lost or self._backend.is_lost:
            self.close()
            return
        self.state = LEAVING
        self.deadline = self._clock.time() + within_s
        self._client.go_away()
        self._backend.go_away()
        self.check_left()

    def told(self) -> None:
        """Both sides were told, and are to confirm."""
        self.deadline = min(self.deadline, self._clock.time() + CONFIRM_S)

    def check_left(self) -> None:
        """Close once both sides have confirmed."""
        if self.state is LEAVING and self._client.has_left and self._backend.has_left:
            self.close()

    def lost(self, end: _End, error: Exception | None) -> None:
        """`end` is gone: what was received of it is still sent, then the other closes, too."""
        if self.state is not CLOSED and error is not None and self.error is None:
            if end.is_backend:
                self.error = BackendCut("the backend's connection was lost")
            else:
                self.error = ClientGone("the client left")
        self._close()
        end.other.duplex.close()
        if end.is_backend:
            self._clock.watched.discard(self)

    def close(self) -> None:
        """End both sides, after what was written to them."""
        self._close()
        self._client.duplex.close()
        self._backend.duplex.close()

    def _close(self) -> None:
        self.state = CLOSED
        self._unsent = self._backend.duplex.unsent
        self.deadline = self._clock.time() + FLUSH_S
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)


def go_away(tunnels: Collection[Tunnel], loop: asyncio.AbstractEventLoop, farewell: Farewell) -> None:
    """Have `tunnels` go away, each at its turn."""
    for tunnel, (delay_s, within_s) in zip(tuple(tunnels), farewell.sockets(len(tunnels)), strict=True):
        if delay_s:
            loop.call_later(delay_s, tunnel.go_away, within_s)
        else:
            tunnel.go_away(within_s)
