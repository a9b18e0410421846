"""Where a body ends, and how one is sent whose length is not known (RFC 9112 §6, §7)."""

from __future__ import annotations

import re
from typing import Final

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.field_block import kind_of
from duck.wire.fields import TOKEN, Fields, parse_fields, render_fields

MAX_CHUNK_LINE_BYTES: Final = 1024
# Extensions are read and dropped (RFC 9112 §7.1.1); a body made of them is an attack on whoever counts bytes.
MAX_EXTENSION_BYTES: Final = 16_384
MAX_TRAILER_BYTES: Final = 16_384
MAX_TRAILERS: Final = 50

LAST_CHUNK: Final = b"0\r\n\r\n"

_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"((?:[ \t]*;[ \t]*"
    + TOKEN
    + rb"(?:[ \t]*=[ \t]*(?:"
    + TOKEN
    + rb"|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\"))?)*)"
)

# What may still become such a line: the rest is refused without waiting for its end.
_CHUNK_LINE_START: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t;][^\r\n]*)?\r?)?")

# Fields a trailer may not carry (RFC 9110 §6.5.1): they would change what was decided by the head. Those with a kind in
# `field_block` (they frame, route, or claim an identity) may not either: recipients may merge trailers into fields.
_NOT_IN_TRAILERS: Final = {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"max-forwards",
    b"range",
    b"set-cookie",
    b"via",
    b"www-authenticate",
}

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedReader:
    """Reads a chunked body (RFC 9112 §7.1), however it was split. Once `done`, it is fed no more.

    Attributes:
        done: the last chunk and the trailers were read.
        left: what is to come of the chunk that has begun, in bytes.
        rest: what came after them: the next message's.
        trailers: the trailer fields that may be passed on, or None.
    """

    __slots__ = ("_extension_bytes", "_pending", "_state", "_status", "done", "left", "rest", "trailers")

    def __init__(self, *, status: int = 400) -> None:
        """`status` is that of the errors: 400 for a request, 502 for an answer."""
        self.done = False
        self.rest = b""
        self.trailers: Fields | None = None
        self._state = _SIZE
        self.left = 0
        self._pending = b""
        self._extension_bytes = 0
        self._status = status

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`, maybe none.

        Raises:
            ProtocolError: the chunks are malformed; where this body ends cannot be known.
        """
        size = len(data)
        if self.left > size:
            self.left -= size
            return data
        if self._pending:
            data = self._pending + data
            self._pending = b""
            size = len(data)
        parts: list[bytes] = []
        at = 0
        while True:
            state = self._state
            if state == _DATA:
                end = at + self.left
                if end > size:
                    parts.append(data[at:])
                    self.left = end - size
                    break
                parts.append(data[at:end])
                self.left = 0
                at = end
                self._state = _DATA_END
            elif state == _DATA_END:
                if size - at < 2:
                    if at < size and data[at] != 13:
                        raise ProtocolError("a chunk longer than its size", self._status)
                    self._pending = data[at:]
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ProtocolError("a chunk longer than its size", self._status)
                at += 2
                self._state = _SIZE
            elif state == _SIZE:
                end = data.find(b"\r\n", at, at + MAX_CHUNK_LINE_BYTES + 2)
                if end < 0:
                    self._check_partial(data[at:])
                    self._pending = data[at:]
                    break
                self.left = self._size(data[at:end])
                at = end + 2
                self._state = _DATA if self.left else _TRAILERS
            else:
                at = self._end(data, at)
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _size(self, line: bytes) -> int:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("a malformed chunk size", self._status)
        extension = match.group(2)
        if extension:
            self._extension_bytes += len(extension)
            if self._extension_bytes > MAX_EXTENSION_BYTES:
                raise ProtocolError("too many chunk extensions", self._status)
        return int(match.group(1), 16)

    def _check_partial(self, line: bytes) -> None:
        """Refuse early what no further byte can mend."""
        # One more than the line may have: its CR may be here already.
        if len(line) > MAX_CHUNK_LINE_BYTES + line.endswith(b"\r") or _CHUNK_LINE_START.fullmatch(line) is None:
            raise ProtocolError("a malformed chunk size", self._status)

    def _end(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            end = at
        else:
            # Bounded whether they come in one piece or in many: the block ends with the first CRLF of the two.
            end = data.find(b"\r\n\r\n", at, at + MAX_TRAILER_BYTES + 2)
            if end < 0:
                if len(data) - at > MAX_TRAILER_BYTES + 1:
                    raise LimitExceeded("trailers longer than allowed", 431 if self._status == 400 else self._status)
                self._pending = partial = data[at:]
                ends = partial.count(b"\r\n")
                if partial.count(b"\n") != ends or partial.count(b"\r", 0, -1) > ends:
                    raise ProtocolError("malformed trailers", self._status)
                return at
            fields = parse_fields(data[at : end + 2])
            if fields is None or len(fields) > MAX_TRAILERS:
                raise ProtocolError("malformed trailers", self._status)
            self.trailers = [pair for pair in fields if may_trail(pair[0])] or None
            end += 2
        self._state = _DONE
        self.done = True
        self.rest = data[end + 2 :]
        return end + 2


def may_trail(name: bytes) -> bool:
    """Whether a trailer of that name may be passed on."""
    return kind_of(name) == 0 and name.lower() not in _NOT_IN_TRAILERS


def chunk(data: bytes) -> bytes:
    """`data`, not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Fields | None) -> bytes:
    """The end of a chunked body."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n%b\r\n" % render_fields(trailers)
