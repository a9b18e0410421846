"""SETTINGS (RFC 9113 §6.5): what a client says of itself, and what Duck says."""

from __future__ import annotations

import struct
from typing import Final

from duck.exceptions import Http2Error
from duck.wire.h2_frames import (
    DEFAULT_WINDOW,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    SETTINGS,
    frame_header,
)

ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8  # RFC 8441 §3
NO_RFC7540_PRIORITIES: Final = 9  # RFC 9218 §2.1

_ITEM: Final = struct.Struct(">HL")


class PeerSettings:
    """What a client has said last.

    Most of it has no use here: Duck pushes nothing, keeps no table for what it sends, and its frames have the least
    size that every client takes.

    Attributes:
        initial_window: of the streams that it will open, in bytes.
    """

    __slots__ = ("initial_window",)

    def __init__(self) -> None:
        self.initial_window = DEFAULT_WINDOW

    def update(self, payload: bytes) -> None:
        """Take a SETTINGS frame's payload.

        Raises:
            Http2Error: its length or a value is not allowed.
        """
        if len(payload) % 6:
            raise Http2Error("SETTINGS of a wrong length", FRAME_SIZE_ERROR)
        for name, value in _ITEM.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise Http2Error("a window larger than there is", FLOW_CONTROL_ERROR)
                self.initial_window = value
            elif name == MAX_FRAME_SIZE:
                if not FRAME_BYTES <= value < 1 << 24:
                    raise Http2Error("a size of frames that is not allowed", PROTOCOL_ERROR)
            elif (name == ENABLE_PUSH or name == ENABLE_CONNECT_PROTOCOL) and value > 1:
                raise Http2Error("a setting that is neither 0 nor 1", PROTOCOL_ERROR)


def own_settings(max_streams: int, max_head_bytes: int) -> bytes:
    """Duck's SETTINGS frame."""
    payload = b"".join(
        _ITEM.pack(name, value)
        for name, value in (
            (MAX_CONCURRENT_STREAMS, max_streams),
            (MAX_HEADER_LIST_SIZE, max_head_bytes),
            (ENABLE_CONNECT_PROTOCOL, 1),
            (NO_RFC7540_PRIORITIES, 1),
        )
    )
    return frame_header(len(payload), SETTINGS, 0, 0) + payload
