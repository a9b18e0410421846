"""One stream of HTTP/2 as its connection sees it: its state, its windows, what waits to be sent (RFC 9113 §5).

    OPEN ──END_STREAM received──> remote_ended ─┐
      └─────END_STREAM sent─────> local_ended ──┴──> closed; RST_STREAM, sent or received, closes at once

What happens to it the connection's owner is told, with the stream.
"""

from __future__ import annotations

from collections import deque

from duck.wire.h2_frames import DEFAULT_WINDOW


class StreamState:
    """One stream; whoever has requests and answers makes a class of his own of it.

    Attributes:
        id: odd, ascending.
        closed: it is none of the connection's any more.
        remote_ended: the client has sent all.
        local_ended: all was sent to the client.
        send_window: bytes that the client takes; below 0 after it has made its windows smaller.
        receive_window: bytes that it may send; `window_size`: as many when none wait to be taken.
        due: received bytes that it may send again, and was not told of yet.
        declared_left: what is missing to the request's Content-Length; -1 where it has none.
        pending: what is to be sent and was not yet, `pending_bytes` in all, the first chunk from `pending_at` on.
        ending: nothing comes behind that; `last_block`: but these trailers.
        refills: more can be had by `refill`.
        queued: it waits for its turn to send.
    """

    __slots__ = (
        "closed",
        "declared_left",
        "due",
        "ending",
        "id",
        "last_block",
        "local_ended",
        "pending",
        "pending_at",
        "pending_bytes",
        "queued",
        "receive_window",
        "refills",
        "remote_ended",
        "send_window",
        "window_size",
    )

    def __init__(self, stream_id: int, send_window: int) -> None:
        self.id = stream_id
        self.closed = False
        self.remote_ended = False
        self.local_ended = False
        self.send_window = send_window
        self.receive_window = DEFAULT_WINDOW
        self.window_size = DEFAULT_WINDOW
        self.due = 0
        self.declared_left = -1
        self.pending: deque[bytes] | None = None
        self.pending_at = 0
        self.pending_bytes = 0
        self.ending = False
        self.last_block = b""
        self.queued = False
        self.refills = False

    def take(self, size: int) -> bytes:
        """The next `size` bytes of what is pending; there are as many."""
        pending = self.pending
        assert pending is not None
        at = self.pending_at
        first = pending[0]
        end = at + size
        self.pending_bytes -= size
        if end < len(first):
            self.pending_at = end
            return first[at:end]
        parts = [first[at:] if at else first]
        size -= len(first) - at
        pending.popleft()
        while size > 0 and size >= len(pending[0]):
            chunk = pending.popleft()
            size -= len(chunk)
            parts.append(chunk)
        self.pending_at = size
        if size:
            parts.append(pending[0][:size])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def put(self, data: bytes) -> None:
        """Have `data`, not empty, sent when its turn comes."""
        if self.pending is None:
            self.pending = deque()
        self.pending.append(data)
        self.pending_bytes += len(data)
