"""One HTTP/2 connection of a client (RFC 9113): bytes in; requests, bodies, windows and bytes out. No I/O.

    PREFACE ──24 bytes──> SETTINGS ──the client's──> OPEN ──go_away──> LEAVING
                                                       └──a fault, GOAWAY sent──> CLOSED: what still comes is ignored

What only a client with a fault of its own can send ends the connection, though the RFC may call it an error of the
stream (§5.4.2 allows it): so nobody makes Duck reset streams at will. Malformed requests, which an honest proxy passes
on for somebody else, reset their stream, and are counted.

What is sent (`h2_sending`), bodies and windows (`h2_receiving`), heads (`h2_head`, `h2_repeats`), settings and the
account of a client's cost have files of their own.
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
    window_update,
)
from duck.wire.h2_head import request_head, trailers
from duck.wire.h2_receiving import Receiving, connection_window, unpad
from duck.wire.h2_repeats import Repeats
from duck.wire.h2_settings import PeerSettings, own_settings
from duck.wire.head import HTTP_2, told_head
from duck.wire.hpack import METHOD, PATH, Decoder, Field

if TYPE_CHECKING:
    from duck.wire.h2_sending import Http2Owner
    from duck.wire.h2_stream import StreamState
    from duck.wire.head import RequestHead

PREFACE_STATE: Final = "preface"
SETTINGS_STATE: Final = "settings"
OPEN: Final = "open"
LEAVING: Final = "leaving"
CLOSED: Final = "closed"

# Field blocks come in frames; more of these, or more bytes, no client needs.
MAX_BLOCK_FRAMES: Final = 16
# Compressed and not; what is longer than allowed is answered 431 up to so many times the limit.
MAX_BLOCK_EXCESS: Final = 2
# In streams that end before their time: fields that are more than allowed were read all the same.
BOMB_COST: Final = 10
_PING: Final = b"\0duckbye"

_unpack_header: Final = Struct(">HBBBL").unpack_from


class Http2Connection(Receiving):
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
        "_block",
        "_block_bytes",
        "_block_flags",
        "_block_stream",
        "_buffer",
        "_data_ends",
        "_data_left",
        "_data_stream",
        "_decoder",
        "_max_fields",
        "_max_head_bytes",
        "_max_streams",
        "_max_target_bytes",
        "_now",
        "_repeats",
        "_settings",
        "head_since",
        "in_block",
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
        window = connection_window(max_streams)
        Receiving.__init__(self, owner, now, window)
        self.scheme = scheme
        self._max_streams = max_streams
        self._max_head_bytes = max_head_bytes
        self._max_target_bytes = max_target_bytes
        self._now = now
        self._max_fields = max_fields
        self.state = PREFACE_STATE
        self.out.append(own_settings(max_streams, max_head_bytes))
        self.out.append(window_update(0, window - DEFAULT_WINDOW))
        self.peer_leaves = False
        self.in_block = False
        self.head_since = now
        self._now = now
        self._buffer = b""
        self._decoder = Decoder()
        self._repeats = Repeats(max_target_bytes, max_head_bytes)
        self._settings = PeerSettings()
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
                payload = unpad(payload)
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
        if stream_id - self.last_id > 2:
            self.passed_over = (self.last_id, stream_id)
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

    # -- the end of streams, and of the connection -------------------------------------------------------------------

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

    def _fail(self, error: Http2Error) -> None:
        self.state = CLOSED
        self.error = error
        self._buffer = b""
        self.out.append(goaway(min(self.last_id, self._accepts_to), error.code, str(error)))


def _told(fields: list[Field] | None) -> RequestHead:
    """What can be told of a request that `fields` do not make."""
    said = {field.kind: field.value for field in fields or ()}
    return told_head(said.get(METHOD, b""), said.get(PATH, b""), HTTP_2)


def _check_dependency(stream_id: int, payload: bytes) -> None:
    """Refuse a stream that depends on itself: RFC 7540 §5.3.1 did, and no client of today means it."""
    if int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream_id:
        raise Http2Error("a stream that depends on itself", PROTOCOL_ERROR)
