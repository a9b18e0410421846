"""The body of one request as it is read: how much of it is there, and whether it comes fast enough. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.net.clock import NEVER
from duck.wire.framing import ChunkedReader

if TYPE_CHECKING:
    from duck.net.limits import Limits
    from duck.wire.fields import Fields


class BodyPace:
    """How fast a body comes, whatever its framing.

    Attributes:
        paused: who takes it is slow; the time until `start` is not the client's.
    """

    __slots__ = ("_bytes", "_since", "paused")

    def __init__(self) -> None:
        self._bytes = 0
        self._since = 0.0
        self.paused = False

    def start(self, now: float) -> None:
        """The client's time runs from `now`; also after a pause."""
        self.paused = False
        self._since = now
        self._bytes = 0

    def count(self, size: int) -> None:
        """So many bytes have come."""
        self._bytes += size

    def deadline(self, now: float, limits: Limits) -> float:
        """When the next piece is due: after a pause of the longest kind, or when the average falls below the least."""
        if self.paused:
            return NEVER
        deadline = now + limits.body_timeout_s
        if limits.min_body_rate:
            due = self._since + limits.body_timeout_s + self._bytes / limits.min_body_rate
            deadline = min(deadline, due)
        return deadline


class RequestBody(BodyPace):
    """Reads a body of known length, or one in chunks.

    Attributes:
        done: all of it was read.
        rest: once it is done, what came after it: the next request's.
        trailers: of a body in chunks, once it is done.
    """

    __slots__ = ("_chunks", "_left", "done", "rest", "trailers")

    def __init__(self, content_length: int | None) -> None:
        BodyPace.__init__(self)
        self._chunks = ChunkedReader() if content_length is None else None
        self._left = content_length or 0
        self.done = False
        self.rest = b""
        self.trailers: Fields | None = None

    @property
    def announced(self) -> int:
        """Bytes of a chunk that are still to come, as its size says; its client means to send them."""
        return 0 if self._chunks is None else self._chunks.left

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`.

        Raises:
            ProtocolError: its chunks are malformed.
        """
        chunks = self._chunks
        if chunks is None:
            left = self._left - len(data)
            if left < 0:
                self.rest = data[left:]
                data = data[:left]
                left = 0
            self._left = left
            self.done = left == 0
        else:
            data = chunks.feed(data)
            if chunks.done:
                self.done = True
                self.rest = chunks.rest
                self.trailers = chunks.trailers
        self.count(len(data))
        return data
