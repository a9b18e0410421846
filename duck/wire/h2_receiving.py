"""What an HTTP/2 connection receives of bodies: DATA, the windows that bound it, streams that are closed (RFC 9113 §5).

`Http2Connection` has the frames, and says whose they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from duck.exceptions import Http2Error
from duck.wire.h2_frames import (
    DEFAULT_WINDOW,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    rst_stream,
    window_update,
)
from duck.wire.h2_sending import USEFUL_BYTES, Http2Owner, Sending

if TYPE_CHECKING:
    from duck.wire.h2_stream import StreamState

# What a client may have sent of a stream whose body is wanted, and that nobody has taken yet; of others DEFAULT_WINDOW.
STREAM_WINDOW: Final = 1 << 18
# Streams of a connection that have such a window at once. The connection's own window has room for all that its streams
# may hold: so what nobody takes of some keeps no other from being read.
MAX_WIDE: Final = 8
# Taken bytes that the connection has not told of yet, at most.
CONNECTION_DUE: Final = 1 << 18
# Streams that Duck has reset, whose frames may still be on their way.
MAX_REMEMBERED: Final = 512


class Receiving(Sending):
    """What one connection receives of bodies.

    Attributes:
        last_id: of the stream that the client opened last.
        passed_over: the ids between which it left some out the last time, for it may not use those any more.
        error: why the connection was closed.
    """

    __slots__ = ("_accepts_to", "_due", "_receive_window", "_remembered", "error", "last_id", "passed_over")

    def __init__(self, owner: Http2Owner, now: float, window: int) -> None:
        Sending.__init__(self, owner, now)
        self.last_id = 0
        self.passed_over = (0, 0)
        self.error: Http2Error | None = None
        self._accepts_to = MAX_WINDOW  # the last stream that is served
        self._receive_window = window
        self._due = 0
        self._remembered: dict[int, None] = {}

    # -- bodies and windows ---------------------------------------------------------------------------------------

    def _data(self, stream_id: int, flags: int, length: int) -> StreamState | None:
        """DATA of `length` bytes begins: its stream, or None where that is closed."""
        self._receive_window -= length
        if self._receive_window < 0:
            raise Http2Error("more than the connection's window", FLOW_CONTROL_ERROR)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_remembered(stream_id)
            return None
        if stream.remote_ended:
            raise Http2Error("DATA behind the end of their stream", STREAM_CLOSED)
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise Http2Error("more than the stream's window", FLOW_CONTROL_ERROR)
        if length >= USEFUL_BYTES:
            self.account.useful(1)
        elif length == 0 and not flags & END_STREAM:
            self.account.frame()
        return stream

    def _padded_data(self, stream_id: int, flags: int, payload: bytes) -> None:
        stream = self._data(stream_id, flags, len(payload))
        data = unpad(payload)
        padding = len(payload) - len(data)
        if not data and not flags & END_STREAM:
            self.account.frame(2)  # as little as an empty one, and one of them may have been taken for useful
        if stream is None:
            self._give_back(padding)
        else:
            self.consumed(stream, padding)
        self._body(stream, data, flags & END_STREAM != 0)

    def _body(self, stream: StreamState | None, data: bytes, ended: bool) -> None:
        """Bytes of a body, or the end of one."""
        size = len(data)
        if stream is None or stream.closed:
            self._give_back(size)
            return
        if stream.declared_left >= 0:
            stream.declared_left -= size
            if stream.declared_left < 0 or (ended and stream.declared_left):
                self._give_back(size)
                self._reset_for(stream, Http2Error("a body that is not as long as its Content-Length", PROTOCOL_ERROR))
                return
        if ended:
            stream.remote_ended = True
        if data:
            self._owner.body(stream, data)
        if ended:
            self._owner.body_end(stream, None)
            self._settle(stream)

    def consumed(self, stream: StreamState, size: int) -> None:
        """Nobody keeps `size` bytes of `stream` any more: the client may send as many again."""
        self._give_back(size)
        if stream.remote_ended or stream.closed:
            return
        due = stream.due = stream.due + size
        if due >= stream.window_size >> 1:
            self._grant(stream)

    def widen(self, stream: StreamState) -> None:
        """The body of `stream` is wanted: its client may send more at once, where not too many streams' may already."""
        if (
            self.wide < MAX_WIDE
            and stream.window_size < STREAM_WINDOW
            and not stream.remote_ended
            and not stream.closed
        ):
            self.wide += 1
            stream.due += STREAM_WINDOW - stream.window_size
            stream.window_size = STREAM_WINDOW
            self._grant(stream)

    def _grant(self, stream: StreamState) -> None:
        stream.receive_window += stream.due
        self.out.append(window_update(stream.id, stream.due))
        stream.due = 0

    def _give_back(self, size: int) -> None:
        due = self._due = self._due + size
        if due >= CONNECTION_DUE and self.error is None:
            self._receive_window += due
            self.out.append(window_update(0, due))
            self._due = 0

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error("WINDOW_UPDATE of a wrong length", FRAME_SIZE_ERROR)
        self.account.frame()
        increment = int.from_bytes(payload, "big") & MAX_WINDOW
        if increment == 0:
            raise Http2Error("WINDOW_UPDATE by nothing", PROTOCOL_ERROR)
        if stream_id == 0:
            self.send_window += increment
            if self.send_window > MAX_WINDOW:
                raise Http2Error("a window larger than there is", FLOW_CONTROL_ERROR)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            return
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise Http2Error("a window larger than there is", FLOW_CONTROL_ERROR)
        self.enqueue(stream)

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self.last_id or not stream_id & 1:
            raise Http2Error("a frame of a stream that was not opened", PROTOCOL_ERROR)

    def _check_remembered(self, stream_id: int) -> None:
        """A frame of a closed stream may be on its way when Duck resets it, and later not (§5.1)."""
        self._check_not_idle(stream_id)
        self.account.frame()
        below, above = self.passed_over
        if below < stream_id < above:
            raise Http2Error("a stream that was passed over", PROTOCOL_ERROR)  # §5.1.1
        if stream_id not in self._remembered and stream_id <= self._accepts_to:
            raise Http2Error("a frame of a stream that is closed", STREAM_CLOSED)

    # -- the end of streams -------------------------------------------------------------------------------------------

    def reset(self, stream: StreamState, code: int) -> None:
        """End `stream` now; its owner is told nothing."""
        if stream.closed:
            return
        self._forget(stream)
        self._say_reset(stream.id, code)

    def _settle(self, stream: StreamState) -> None:
        """Both sides may have ended."""
        if stream.local_ended and stream.remote_ended and not stream.closed:
            self._forget(stream)

    def _say_reset(self, stream_id: int, code: int) -> None:
        self.out.append(rst_stream(stream_id, code))
        remembered = self._remembered
        remembered[stream_id] = None
        if len(remembered) > MAX_REMEMBERED:
            del remembered[next(iter(remembered))]

    def _reset_for(self, stream: StreamState, error: Http2Error) -> None:
        """End a stream for a fault of the client's."""
        self.reset(stream, error.code)
        self._owner.was_reset(stream, error)
        self.account.reset()


def connection_window(max_streams: int) -> int:
    """What a client may have sent on all its streams that nobody has taken yet."""
    return max_streams * DEFAULT_WINDOW + MAX_WIDE * (STREAM_WINDOW - DEFAULT_WINDOW) + CONNECTION_DUE


def unpad(payload: bytes) -> bytes:
    """What a padded payload has between the length of its padding and that."""
    if not payload:
        raise Http2Error("padding without its length", FRAME_SIZE_ERROR)
    end = len(payload) - payload[0]
    if end < 1:
        raise Http2Error("more padding than there is payload", PROTOCOL_ERROR)
    return payload[1:end]
