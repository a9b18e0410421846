"""Two byte streams, each handed on to the other (RFC 9110 §7.8): paused both ways, half-closed both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.net.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from duck.net.clock import Clock
    from duck.net.interfaces import Duplex

# After one side has closed its half the other may take this long to close its own.
HALF_CLOSED_S: Final = 60.0


class _End:
    """One side of a tunnel: what arrives here leaves at the other."""

    __slots__ = ("_duplex", "_tunnel", "bytes_received", "ended", "other")

    def __init__(self, tunnel: Tunnel, duplex: Duplex) -> None:
        self._tunnel = tunnel
        self._duplex = duplex
        self.other: _End = self
        self.ended = False
        self.bytes_received = 0

    def duplex_data(self, data: bytes) -> None:
        self.bytes_received += len(data)
        self._tunnel.active = True
        self.other._duplex.write(data)

    def duplex_eof(self) -> None:
        if self.ended:
            return
        self.ended = True
        self.other._duplex.write_eof()
        self._tunnel.half_closed()

    def duplex_lost(self, error: Exception | None) -> None:
        self._tunnel.lost(self.other._duplex)

    def duplex_pause(self) -> None:
        self.other._duplex.pause_reading()

    def duplex_resume(self) -> None:
        self.other._duplex.resume_reading()


class Tunnel:
    """Joins `client` and `backend` until both have ended, one is lost, or nothing has moved for `idle_s` seconds.

    Attributes:
        active: something moved since the last sweep.
        bytes_up, bytes_down: from the client, and to it.
    """

    __slots__ = ("_backend", "_client", "_clock", "_idle_s", "_on_end", "active", "deadline")

    def __init__(
        self, client: Duplex, backend: Duplex, clock: Clock, idle_s: float, on_end: Callable[[Tunnel], None]
    ) -> None:
        self._client = _End(self, client)
        self._backend = _End(self, backend)
        self._client.other = self._backend
        self._backend.other = self._client
        self._clock = clock
        self._idle_s = idle_s
        self._on_end: Callable[[Tunnel], None] | None = on_end
        self.active = False
        self.deadline = clock.time() + idle_s if idle_s else NEVER
        clock.watched.add(self)
        # Each side may deliver at once what came early, so both ends must know each other before.
        backend.connect(self._backend)
        if self._on_end is not None:
            client.connect(self._client)

    @property
    def bytes_up(self) -> int:
        """Bytes received from the client."""
        return self._client.bytes_received

    @property
    def bytes_down(self) -> int:
        """Bytes received from the backend."""
        return self._backend.bytes_received

    @property
    def has_ended(self) -> bool:
        """Whether it was closed, by itself or by a side."""
        return self._on_end is None

    def expire(self, now: float) -> None:
        """Close an idle tunnel; one that moved since the last look has its time again."""
        if self.active:
            self.active = False
            idle_s = self._idle_s or NEVER
            self.deadline = now + (min(idle_s, HALF_CLOSED_S) if self.is_half_closed else idle_s)
        else:
            self.close()

    @property
    def is_half_closed(self) -> bool:
        """One side, and only one, has said that it will send no more."""
        return self._client.ended != self._backend.ended

    def half_closed(self) -> None:
        """One side will send no more."""
        if not self.is_half_closed:
            self._end()
            self._client._duplex.close()
            self._backend._duplex.close()
        else:
            self.deadline = min(self.deadline, self._clock.time() + HALF_CLOSED_S)

    def lost(self, other: Duplex) -> None:
        """One side is gone: what was received of it is still sent, then the other closes, too."""
        self._end()
        other.close()

    def close(self) -> None:
        """End both sides."""
        self._end()
        self._client._duplex.close()
        self._backend._duplex.close()

    def _end(self) -> None:
        self._clock.watched.discard(self)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)
