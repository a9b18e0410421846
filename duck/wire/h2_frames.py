"""The frames of HTTP/2 (RFC 9113 §4, §6): their numbers, and those that Duck sends, in bytes."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9
# SETTINGS_MAX_FRAME_SIZE, its default: what a client may send. What is sent is no longer either: one stream's frame
# keeps the others waiting for so long.
FRAME_BYTES: Final = 16_384
MAX_WINDOW: Final = (1 << 31) - 1
DEFAULT_WINDOW: Final = 65_535

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 1  # of DATA and HEADERS
ACK: Final = 1  # of SETTINGS and PING
END_HEADERS: Final = 4
PADDED: Final = 8
WITH_PRIORITY: Final = 32

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

SETTINGS_ACK: Final = b"\0\0\0\4\1\0\0\0\0"

_HEADER: Final = struct.Struct(">HBBBL")
_pack_header: Final = _HEADER.pack
_ONE_NUMBER: Final = struct.Struct(">HBBBLL")
_pack_one: Final = _ONE_NUMBER.pack


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return _pack_header(length >> 8, length & 255, kind, flags, stream_id)


def headers_frames(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """A field block as HEADERS, and CONTINUATION where it is long."""
    flags = END_STREAM if end_stream else 0
    size = len(block)
    if size <= FRAME_BYTES:
        return frame_header(size, HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [frame_header(FRAME_BYTES, HEADERS, flags, stream_id), block[:FRAME_BYTES]]
    for at in range(FRAME_BYTES, size, FRAME_BYTES):
        piece = block[at : at + FRAME_BYTES]
        last = at + FRAME_BYTES >= size
        parts.append(frame_header(len(piece), CONTINUATION, END_HEADERS if last else 0, stream_id))
        parts.append(piece)
    return b"".join(parts)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return _pack_one(0, 4, RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; 0 for the connection."""
    return _pack_one(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def ping(payload: bytes, *, ack: bool) -> bytes:
    """PING with eight bytes."""
    return frame_header(8, PING, ACK if ack else 0, 0) + payload


def goaway(last_stream_id: int, code: int, why: str = "") -> bytes:
    """GOAWAY; `why` is for whoever reads a trace."""
    text = why.encode("ascii", "replace")[:256]
    return frame_header(8 + len(text), GOAWAY, 0, 0) + struct.pack(">LL", last_stream_id, code) + text
