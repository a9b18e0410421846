"""The sending half of an HTTP/2 connection: what is to be sent, in which order, and as the client's windows allow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from duck.wire.h2_account import Account
from duck.wire.h2_frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADER_BYTES,
    HEADERS,
    frame_header,
    headers_frames,
)

if TYPE_CHECKING:
    from duck.exceptions import DuckError, Http2Error, ProtocolError
    from duck.wire.fields import Fields
    from duck.wire.h2_stream import StreamState
    from duck.wire.head import RequestHead

# A DATA frame of at least so many bytes is worth the frames that acknowledge it.
USEFUL_BYTES: Final = 256


class Http2Owner(Protocol):
    """Who has the connection."""

    def make_stream(self, stream_id: int, send_window: int) -> StreamState:
        """A new stream, for a request that follows at once."""

    def request(self, stream: StreamState, head: RequestHead) -> None:
        """The request of `stream`; `remote_ended` tells whether it has a body."""

    def refused(self, stream: StreamState, error: ProtocolError, head: RequestHead) -> None:
        """The request of `stream` is to be answered with `error`'s status; `head` has what can be told of it."""

    def malformed(self, stream: StreamState, error: Http2Error, head: RequestHead) -> None:
        """The request of `stream` was malformed, and that reset; `head` has what can be told of it."""

    def body(self, stream: StreamState, data: bytes) -> None:
        """Bytes of its body, not empty; `Http2Connection.consumed` is to be told when nobody keeps them any more."""

    def body_end(self, stream: StreamState, fields: Fields | None) -> None:
        """The client has sent all; `fields` are its trailers."""

    def was_reset(self, stream: StreamState, error: DuckError) -> None:
        """The client has reset it, or Duck for a fault of the client's."""

    def emitted(self, stream: StreamState) -> None:
        """Some of what was pending has gone."""

    def refill(self, stream: StreamState) -> None:
        """Little is pending: `put` more of what is read only when it can be sent."""

    def sent_end(self, stream: StreamState) -> None:
        """All was sent."""

    def goodbye_heard(self) -> None:
        """The client knows that the connection ends: see `go_away`."""


class Sending:
    """What one connection sends. A stream waits in a queue; whose turn it is sends one frame, and queues again.

    Attributes:
        out: what is to be sent; whoever sends it empties it.
        streams: those that are not closed, by id.
        account: what the client may still cost.
        send_window: bytes of DATA that the client takes, of all streams together.
        held: bodies wait until `emit`, for whoever sends `out` cannot at present.
        wide: of `streams`, those whose client may send more than at first.
    """

    __slots__ = ("_owner", "_ready", "account", "held", "out", "send_window", "streams", "wide")

    def __init__(self, owner: Http2Owner, now: float) -> None:
        self._owner = owner
        self.out: list[bytes] = []
        self.streams: dict[int, StreamState] = {}
        self.account = Account(now)
        self.send_window = DEFAULT_WINDOW
        self.held = False
        self.wide = 0
        self._ready: deque[StreamState] = deque()

    def send_head(self, stream: StreamState, block: bytes, *, end: bool = False) -> None:
        """A field block: an answer's head, or an interim one; with `end` there is no body."""
        self.out.append(headers_frames(stream.id, block, end_stream=end))
        if end:
            self._ended(stream)

    def send_whole(self, stream: StreamState, block: bytes, body: bytes) -> None:
        """An answer's head and all of its body, which is not empty."""
        size = len(body)
        length = len(block)
        if (
            size <= FRAME_BYTES
            and size <= stream.send_window
            and size <= self.send_window
            and length <= FRAME_BYTES
            and not self.held
            and not self._ready
        ):
            stream.send_window -= size
            self.send_window -= size
            stream_id = stream.id
            head = frame_header(length, HEADERS, END_HEADERS, stream_id)
            self.out.append(b"".join((head, block, frame_header(size, DATA, END_STREAM, stream_id), body)))
            self._ended(stream)
            return
        self.send_head(stream, block)
        self.send_data(stream, body, end=True)

    def send_data(self, stream: StreamState, data: bytes, *, end: bool = False) -> None:
        """Bytes of a body, not empty: now where they fit into one frame and nobody waits, else in their turn."""
        size = len(data)
        if (
            size <= FRAME_BYTES
            and size <= stream.send_window
            and size <= self.send_window
            and not self.held
            and not self._ready
            and not stream.pending_bytes
        ):
            stream.send_window -= size
            self.send_window -= size
            self.account.useful(2)
            self.out.append(frame_header(size, DATA, END_STREAM if end else 0, stream.id))
            self.out.append(data)
            if end:
                self._ended(stream)
            return
        stream.put(data)
        if end:
            stream.ending = True
        self.enqueue(stream)

    def send_end(self, stream: StreamState, last_block: bytes = b"") -> None:
        """The end of a body, with trailers where `last_block` is not empty."""
        stream.ending = True
        stream.last_block = last_block
        if not stream.pending_bytes:
            self._send_end(stream)

    def enqueue(self, stream: StreamState) -> None:
        """Have `stream` wait for its turn, if it has, or can `refill`, anything to send."""
        if not stream.queued and (stream.pending_bytes or stream.refills) and stream.send_window > 0:
            stream.queued = True
            self._ready.append(stream)

    @property
    def has_work(self) -> bool:
        """Whether `emit` would give something."""
        return bool(self._ready) and self.send_window > 0

    def emit(self, limit: int) -> None:
        """Move what waits to `out`, a frame of each stream in turn, until it is about `limit` bytes."""
        out = self.out
        ready = self._ready
        while ready and limit > 0 and self.send_window > 0:
            stream = ready.popleft()
            stream.queued = False
            if stream.closed:
                continue
            size = min(FRAME_BYTES, stream.send_window, self.send_window)
            if stream.pending_bytes < size:
                self._owner.refill(stream)
            waiting = stream.pending_bytes
            if not waiting or size <= 0:
                continue
            if size >= waiting:
                size = waiting
            if size == waiting or size >= USEFUL_BYTES:
                self.account.useful(2)
            end = size == waiting and stream.ending and not stream.last_block
            out.append(frame_header(size, DATA, END_STREAM if end else 0, stream.id))
            out.append(stream.take(size))
            stream.send_window -= size
            self.send_window -= size
            limit -= size + HEADER_BYTES
            if end:
                self._ended(stream)
            elif size == waiting and stream.ending:
                self._send_end(stream)
            else:
                self._owner.emitted(stream)
                self.enqueue(stream)

    def _send_end(self, stream: StreamState) -> None:
        if stream.last_block:
            self.out.append(headers_frames(stream.id, stream.last_block, end_stream=True))
        else:
            self.out.append(frame_header(0, DATA, END_STREAM, stream.id))
        self._ended(stream)

    def _ended(self, stream: StreamState) -> None:
        stream.local_ended = True
        if stream.remote_ended:
            self._forget(stream)
        self._owner.sent_end(stream)

    def _forget(self, stream: StreamState) -> None:
        stream.closed = True
        self.streams.pop(stream.id, None)
        if stream.window_size > DEFAULT_WINDOW:
            self.wide -= 1
        stream.pending = None  # how much it was, `pending_bytes` still tells
