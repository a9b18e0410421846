"""Where WebSocket frames begin in a stream that is only passed on (RFC 6455 §5.2), and the frame that ends one."""

from __future__ import annotations

from typing import Final

GOING_AWAY: Final = 1001

CLOSE: Final = 8
_DATA_AND_CONTROL: Final = (0, 1, 2, 8, 9, 10)
# More than any stream will have: nothing is looked at any more.
_NOWHERE: Final = 1 << 62


class FrameFollower:
    """Follows the frames of one direction, however they are split, by looking at their heads alone.

    A peer that does not keep to RFC 6455 loses the follower, and no boundary is known from there on.

    Attributes:
        received: bytes so far.
        next_head: where the next head begins, so counted.
        code16: the second byte of a frame whose length has 16 bits; `extra16`: its bytes besides the payload.
    """

    __slots__ = ("_extra", "_first", "_head", "_mask_bit", "code16", "extra16", "next_head", "received")

    def __init__(self, *, masked: bool) -> None:
        """`masked`: these are a client's frames, which always are; a server's never are (§5.1)."""
        self.received = 0
        self.next_head = 0
        self.code16 = 254 if masked else 126
        self.extra16 = 8 if masked else 4
        self._head = b""  # the beginning of a head, while it is not complete
        self._first = 0  # byte of the last frame: its opcode, and whether its message ends
        self._mask_bit = 128 if masked else 0
        self._extra = 6 if masked else 2  # bytes of a frame besides a payload shorter than 126

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self.received += len(data)
        if self.received > self.next_head:
            self.follow(data)

    @property
    def is_between_frames(self) -> bool:
        """Whether all that was fed are whole frames, as far as can be known."""
        return self.received == self.next_head and self._first & 15 in _DATA_AND_CONTROL

    @property
    def is_closed(self) -> bool:
        """Whether the last frame was a Close, behind which nothing may be sent (§5.5.1)."""
        return self._first & 15 == CLOSE and self.received == self.next_head

    @property
    def is_lost(self) -> bool:
        """Whether what was fed are no frames."""
        return self.next_head == _NOWHERE or self._first & 15 not in _DATA_AND_CONTROL

    def feed_frame(self, data: bytes) -> int:
        """Feed `data` up to the end of the frame that is under way; how many bytes that is, or -1 when all are its."""
        at = 0
        size = len(data)
        while self._head and at < size:
            self.feed(data[at : at + 1])
            at += 1
        left = self.next_head - self.received
        if self._head or left > size - at:
            self.feed(data[at:])
            return -1
        self.feed(data[at : at + left])
        return at + left

    def follow(self, data: bytes) -> None:
        """A head begins, or goes on, in `data`, which `received` counts already."""
        if self._head:
            data = self._head + data
            self._head = b""
        size = len(data)
        begin = self.received - size  # the stream's position of data[0]
        at = self.next_head - begin
        while at + 1 < size:
            length = data[at + 1] - self._mask_bit
            if length < 126:
                if length < 0:
                    self.next_head = _NOWHERE
                    return
                end = at + self._extra + length
            elif length == 126:
                if at + 3 >= size:
                    break
                end = at + self._extra + 2 + (data[at + 2] << 8 | data[at + 3])
            elif length == 127:
                if at + 9 >= size:
                    break
                end = at + self._extra + 8 + int.from_bytes(data[at + 2 : at + 10], "big")
            else:
                self.next_head = _NOWHERE
                return
            self._first = data[at]
            at = end
            if at >= size:
                self.next_head = begin + at
                return
        self.next_head = begin + at
        self._head = data[at:]


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """A Close with a code and no reason (§5.5.1); `mask`, four random bytes, where it goes to a server."""
    payload = code.to_bytes(2, "big")
    if not mask:
        return b"\x88\x02" + payload
    return b"\x88\x82" + mask + bytes((payload[0] ^ mask[0], payload[1] ^ mask[1]))
