"""One HTTP/2 connection of a client (RFC 9113): bytes in; requests, bodies, windows and bytes out. No I/O.

    PREFACE ──24 bytes──> SETTINGS ──the client's──> OPEN ──go_away──> LEAVING
                                                       └──a fault, GOAWAY sent──> CLOSED: what still comes is ignored

What only a client with a fault of its own can send ends the connection, though the RFC may call it an error of the
stream (§5.4.2 allows it): so nobody makes Duck reset streams at will. Malformed requests, which an honest proxy passes
on for somebody else, reset their stream, and are counted.

All that a client's frames do to these states stands in one file, which is why it is longer than others: what is sent
(`h2_sending`), heads (`h2_head`, `h2_repeats`), settings and the account of a client's cost have files of their own.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone, Http2Error, LimitExceeded, ProtocolError
from duck.wire.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    goaway,
    ping,
    rst_stream,
    window_update,
)
from duck.wire.h2_head import request_head, trailers
from duck.wire.h2_repeats import Repeats
from duck.wire.h2_sending import USEFUL_BYTES, Http2Owner, Sending
from duck.wire.h2_settings import PeerSettings, own_settings
from duck.wire.head import HTTP_2, told_head
from duck.wire.hpack import METHOD, PATH, Decoder, Field

if TYPE_CHECKING:
    from duck.wire.h2_stream import StreamState
    from duck.wire.head import RequestHead

PREFACE_STATE: Final = "preface"
SETTINGS_STATE: Final = "settings"
OPEN: Final = "open"
LEAVING: Final = "leaving"
CLOSED: Final = "closed"

# What a client may have sent of a stream whose body is wanted, and that nobody has taken yet; of others DEFAULT_WINDOW.
STREAM_WINDOW: Final = 1 << 18
# Streams of a connection that have such a window at once. The connection's own window has room for all that its streams
# may hold: so what nobody takes of some keeps no other from being read.
MAX_WIDE: Final = 8
# Taken bytes that the connection has not told of yet, at most.
CONNECTION_DUE: Final = 1 << 18
# Field blocks come in frames; more of these, or more bytes, no client needs.
MAX_BLOCK_FRAMES: Final = 16
# Compressed and not; what is longer than allowed is answered 431 up to so many times the limit.
MAX_BLOCK_EXCESS: Final = 2
# Streams that Duck has reset, whose frames may still be on their way.
MAX_REMEMBERED: Final = 512
# In streams that end before their time: fields that are more than allowed were read all the same.
BOMB_COST: Final = 10
_PING: Final = b"\0duckbye"

_unpack_header: Final = Struct(">HBBBL").unpack_from


class Http2Connection(Sending):
    """The framing and the states of one connection.

    Args:
        max_head_bytes: of a request's fields, as RFC 9113 §6.5.2 counts them: 32 more for each.

    Attributes:
        scheme: of the connection.
        state: see the diagram above.
        last_id: of the stream that the client opened last.
        peer_leaves: the client has sent GOAWAY.
        in_block: a field block has begun and not ended.
        head_since: when what `is_within_head` tells of began, as `feed` was told the time.
        error: why the connection was closed.
    """

    __slots__ = (
        "_accepts_to",
        "_block",
        "_block_bytes",
        "_block_flags",
        "_block_stream",
        "_buffer",
        "_data_ends",
        "_data_left",
        "_data_stream",
        "_decoder",
        "_due",
        "_max_fields",
        "_max_head_bytes",
        "_max_streams",
        "_max_target_bytes",
        "_now",
        "_receive_window",
        "_remembered",
        "_repeats",
        "_settings",
        "error",
        "head_since",
        "in_block",
        "last_id",
        "peer_leaves",
        "scheme",
        "state",
    )

    def __init__(
        self,
        owner: Http2Owner,
        scheme: bytes,
        now: float,
        *,
        max_streams: int = 100,
        max_head_bytes: int = 32_768,
        max_target_bytes: int = 16_384,
        max_fields: int = 100,
    ) -> None:
        Sending.__init__(self, owner, now)
        self.scheme = scheme
        self._max_streams = max_streams
        self._max_head_bytes = max_head_bytes
        self._max_target_bytes = max_target_bytes
        self._now = now
        self._max_fields = max_fields
        self.state = PREFACE_STATE
        self.out.append(own_settings(max_streams, max_head_bytes))
        window = connection_window(max_streams)
        self.out.append(window_update(0, window - DEFAULT_WINDOW))
        self.last_id = 0
        self.peer_leaves = False
        self.in_block = False
        self.head_since = now
        self._now = now
        self.error: Http2Error | None = None
        self._accepts_to = MAX_WINDOW  # the last stream that is served
        self._buffer = b""
        self._decoder = Decoder()
        self._repeats = Repeats(max_target_bytes, max_head_bytes)
        self._settings = PeerSettings()
        self._receive_window = window
        self._due = 0
        self._remembered: dict[int, None] = {}
        # Of a DATA frame that is not all there yet: the bytes that are missing, whose they are, whether it is the last.
        self._data_left = 0
        self._data_stream: StreamState | None = None
        self._data_ends = False
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._block_flags = 0
        self._block_stream = 0

    # -- received -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> None:
        """The next bytes; `now` in seconds, may be a second old.

        A fault of the client's closes the connection: `error` says why, and `out` has the GOAWAY.
        """
        if self.state is CLOSED:
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        elif not self.in_block:
            self.head_since = now
        if now != self._now:
            self._now = now
            self.account.refill(now)
        try:
            self._feed(data)
        except Http2Error as error:
            self._fail(error)

    def _feed(self, data: bytes) -> None:
        at = 0
        size = len(data)
        if self.state is PREFACE_STATE:
            begin = data[: len(PREFACE)]
            if not PREFACE.startswith(begin):
                raise Http2Error("no preface of HTTP/2", PROTOCOL_ERROR)
            if size < len(PREFACE):
                self._buffer = data
                return
            at = len(PREFACE)
            self.state = SETTINGS_STATE
        elif self._data_left:
            left = self._data_left - size
            if left > 0:
                self._data_left = left
                self._body(self._data_stream, data, False)
                return
            at = self._data_left
            stream, self._data_stream, self._data_left = self._data_stream, None, 0
            self._body(stream, data[:at], self._data_ends)
            if self.state is CLOSED:
                return
        while size - at >= HEADER_BYTES:
            high, low, kind, flags, stream_id = _unpack_header(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise Http2Error("a frame longer than allowed", FRAME_SIZE_ERROR)
            if self.state is SETTINGS_STATE:
                if kind != SETTINGS or flags & ACK:
                    raise Http2Error("a first frame that is not SETTINGS", PROTOCOL_ERROR)
                self.state = OPEN
            begin_at = at + HEADER_BYTES
            end = begin_at + length
            if end > size:
                if kind == DATA and not flags & PADDED and not self.in_block:
                    # A slow client's frame takes longer than a body may stand still: what is there is passed on.
                    self._data_stream = self._data(stream_id & MAX_WINDOW, flags, length)
                    self._data_left = end - size
                    self._data_ends = flags & END_STREAM != 0
                    at = size
                    if begin_at < size:
                        self._body(self._data_stream, data[begin_at:], False)
                break
            at = end
            self._frame(kind, flags, stream_id & MAX_WINDOW, data[begin_at:end])
            if self.state is CLOSED:
                return
        if at < size:
            self._buffer = data[at:] if at else data
            if at and not self.in_block:
                self.head_since = self._now  # another frame than the one that was waited for

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self.in_block and (kind != CONTINUATION or stream_id != self._block_stream):
            raise Http2Error("another frame within a field block", PROTOCOL_ERROR)
        if kind == HEADERS:
            self._headers(stream_id, flags, payload)
        elif kind == DATA:
            if flags & PADDED:
                self._padded_data(stream_id, flags, payload)
            else:
                self._body(self._data(stream_id, flags, len(payload)), payload, flags & END_STREAM != 0)
        elif kind == WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._rst_stream(stream_id, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        else:
            self.account.frame()
            self._rare_frame(kind, flags, stream_id, payload)

    def _rare_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == PRIORITY:
            # Its meaning is no more (§5.3.2); its form still is.
            if stream_id == 0:
                raise Http2Error("PRIORITY of no stream", PROTOCOL_ERROR)
            if len(payload) != 5:
                raise Http2Error("PRIORITY of a wrong length", FRAME_SIZE_ERROR)
            _check_dependency(stream_id, payload)
            return
        if kind == PUSH_PROMISE:
            raise Http2Error("PUSH_PROMISE of a client", PROTOCOL_ERROR)
        if kind not in (SETTINGS, PING, GOAWAY):
            return  # unknown ones are ignored (§5.5): PRIORITY_UPDATE (RFC 9218 §7.1), which is advice, among them
        if stream_id != 0:
            raise Http2Error("a frame of the connection on a stream", PROTOCOL_ERROR)
        if kind == PING:
            if len(payload) != 8:
                raise Http2Error("PING of a wrong length", FRAME_SIZE_ERROR)
            if not flags & ACK:
                self.out.append(ping(payload, ack=True))
            elif payload == _PING:
                self._owner.goodbye_heard()
        elif kind == GOAWAY:
            if len(payload) < 8:
                raise Http2Error("GOAWAY of a wrong length", FRAME_SIZE_ERROR)
            self.peer_leaves = True
        elif flags & ACK:
            if payload:
                raise Http2Error("an acknowledgement of SETTINGS that says something", FRAME_SIZE_ERROR)
        else:
            self._take_settings(payload)

    def _take_settings(self, payload: bytes) -> None:
        self.account.frame(len(payload) // 60)  # each has ten settings, or pays for more
        settings = self._settings
        before = settings.initial_window
        settings.update(payload)
        change = settings.initial_window - before
        if change:
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > MAX_WINDOW:
                    raise Http2Error("a window larger than there is", FLOW_CONTROL_ERROR)
                self.enqueue(stream)
        self.out.append(SETTINGS_ACK)

    # -- field blocks ---------------------------------------------------------------------------------------------

    def _headers(self, stream_id: int, flags: int, payload: bytes) -> None:
        if stream_id == 0:
            raise Http2Error("HEADERS of no stream", PROTOCOL_ERROR)
        if flags & (PADDED | WITH_PRIORITY):
            if flags & PADDED:
                payload = _unpad(payload)
            if flags & WITH_PRIORITY:
                if len(payload) < 5:
                    raise Http2Error("HEADERS shorter than their priority", FRAME_SIZE_ERROR)
                _check_dependency(stream_id, payload)
                payload = payload[5:]
        if flags & END_HEADERS:
            self._field_block(stream_id, flags, payload)
            return
        self.in_block = True
        self.head_since = self._now
        self._block_stream = stream_id
        self._block_flags = flags
        self._block = [payload]
        self._block_bytes = len(payload)

    def _continuation(self, flags: int, payload: bytes) -> None:
        if not self.in_block:
            raise Http2Error("CONTINUATION of no field block", PROTOCOL_ERROR)
        if not payload:
            self.account.frame()
        block = self._block
        block.append(payload)
        self._block_bytes += len(payload)
        if len(block) > MAX_BLOCK_FRAMES or self._block_bytes > MAX_BLOCK_EXCESS * self._max_head_bytes:
            raise Http2Error("a field block without an end", ENHANCE_YOUR_CALM)
        if flags & END_HEADERS:
            self.in_block = False
            self._block = []
            self._field_block(self._block_stream, self._block_flags, b"".join(block))

    def _field_block(self, stream_id: int, flags: int, block: bytes) -> None:
        ended = flags & END_STREAM != 0
        if stream_id <= self.last_id or not stream_id & 1:
            self._later_block(stream_id, ended, block)
            return
        self.last_id = stream_id
        decoder = self._decoder
        fields = None
        head = self._repeats.find(block, decoder.changes) if ended else None
        if head is None:
            fields = decoder.decode(block, self._max_head_bytes)
        if stream_id > self._accepts_to:
            return  # it was said that this one is not served
        if len(self.streams) >= self._max_streams:
            self.account.reset()
            self._say_reset(stream_id, REFUSED_STREAM)
            return
        self.account.useful(4)  # what acknowledges the answer is its share
        stream = self._owner.make_stream(stream_id, self._settings.initial_window)
        self.streams[stream_id] = stream
        stream.remote_ended = ended
        if head is None:
            head = self._understand(stream, fields)
            if head is None:
                return
            if ended and fields is not None:
                self._repeats.keep(block, decoder.changes, fields, head)
        if head.content_length is not None and head.upgrade is None:
            stream.declared_left = head.content_length
        self._owner.request(stream, head)

    def _understand(self, stream: StreamState, fields: list[Field] | None) -> RequestHead | None:
        """The request that `fields` make; None where there is none, and the stream was answered or reset for it."""
        try:
            if fields is None:
                raise LimitExceeded("the request's head is too long", 431)
            return request_head(
                fields,
                ended=stream.remote_ended,
                scheme=self.scheme,
                max_fields=self._max_fields,
                max_target_bytes=self._max_target_bytes,
            )
        except Http2Error as error:
            self.reset(stream, error.code)
            self._owner.malformed(stream, error, _told(fields))
        except ProtocolError as error:
            self._owner.refused(stream, error, _told(fields))
        self.account.reset(1 if fields is not None else BOMB_COST)
        return None

    def _later_block(self, stream_id: int, ended: bool, block: bytes) -> None:
        """A block of a stream that is not new: trailers, or what was on its way when the stream was reset."""
        fields = self._decoder.decode(block, self._max_head_bytes)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_remembered(stream_id)
            return
        if stream.remote_ended:
            raise Http2Error("HEADERS behind the end of their stream", STREAM_CLOSED)
        try:
            if fields is None or not ended or stream.declared_left > 0:
                raise Http2Error("trailers too long, or within a body", PROTOCOL_ERROR)
            trailing = trailers(fields)
        except Http2Error as error:
            self._reset_for(stream, error)
            return
        stream.remote_ended = True
        self._owner.body_end(stream, trailing)
        self._settle(stream)

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
        data = _unpad(payload)
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
        if due >= CONNECTION_DUE and self.state is not CLOSED:
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

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error("RST_STREAM of a wrong length", FRAME_SIZE_ERROR)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            self.account.frame()
            return
        self._forget(stream)
        self._owner.was_reset(stream, ClientGone("the client gave its request up"))
        self.account.reset()

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self.last_id or not stream_id & 1:
            raise Http2Error("a frame of a stream that was not opened", PROTOCOL_ERROR)

    def _check_remembered(self, stream_id: int) -> None:
        """A frame of a closed stream may be on its way when Duck resets it, and later not (§5.1)."""
        self._check_not_idle(stream_id)
        self.account.frame()
        if stream_id not in self._remembered and stream_id <= self._accepts_to:
            raise Http2Error("a frame of a stream that is closed", STREAM_CLOSED)

    # -- the end of streams, and of the connection -------------------------------------------------------------------

    def reset(self, stream: StreamState, code: int) -> None:
        """End `stream` now; its owner is told nothing."""
        if stream.closed:
            return
        self._forget(stream)
        self._say_reset(stream.id, code)

    def go_away(self) -> None:
        """Say that the connection ends, while requests may be on their way; `goodbye_heard` tells that none is."""
        if self.state is OPEN or self.state is SETTINGS_STATE:
            self.state = LEAVING
            self.out.append(goaway(MAX_WINDOW, NO_ERROR))
            self.out.append(ping(_PING, ack=False))

    def stop(self, why: str = "") -> None:
        """Serve no stream that is opened from now on; those that are go on."""
        if self._accepts_to == MAX_WINDOW:
            # Said once: a later number would promise an answer to what was ignored meanwhile.
            self._accepts_to = self.last_id
            self.out.append(goaway(self.last_id, NO_ERROR, why))

    def fail(self, message: str, code: int) -> None:
        """Close for a fault of the client's that is not one of framing: it is too slow."""
        self._fail(Http2Error(message, code))

    @property
    def is_within_head(self) -> bool:
        """Whether a request's head, or the connection's, has begun and not ended."""
        return self.in_block or (self._buffer != b"" and not self._data_left)

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

    def _fail(self, error: Http2Error) -> None:
        self.state = CLOSED
        self.error = error
        self._buffer = b""
        self.out.append(goaway(min(self.last_id, self._accepts_to), error.code, str(error)))


def connection_window(max_streams: int) -> int:
    """What a client may have sent on all its streams that nobody has taken yet."""
    return max_streams * DEFAULT_WINDOW + MAX_WIDE * (STREAM_WINDOW - DEFAULT_WINDOW) + CONNECTION_DUE


def _told(fields: list[Field] | None) -> RequestHead:
    """What can be told of a request that `fields` do not make."""
    said = {field.kind: field.value for field in fields or ()}
    return told_head(said.get(METHOD, b""), said.get(PATH, b""), HTTP_2)


def _unpad(payload: bytes) -> bytes:
    """What a padded payload has between the length of its padding and that."""
    if not payload:
        raise Http2Error("padding without its length", FRAME_SIZE_ERROR)
    end = len(payload) - payload[0]
    if end < 1:
        raise Http2Error("more padding than there is payload", PROTOCOL_ERROR)
    return payload[1:end]


def _check_dependency(stream_id: int, payload: bytes) -> None:
    """Refuse a stream that depends on itself: RFC 7540 §5.3.1 did, and no client of today means it."""
    if int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream_id:
        raise Http2Error("a stream that depends on itself", PROTOCOL_ERROR)
