"""How an answer is framed for its client, and its head in bytes (RFC 9110 §8.6, RFC 9112 §6, RFC 9113 §8)."""

from __future__ import annotations

from typing import Final

from duck.wire.fields import render_fields
from duck.wire.head import HTTP_10, HTTP_11, RequestHead, ResponseHead
from duck.wire.hpack import encode_lines, encode_status

NO_BODY: Final = 0  # HEAD, 204, 304: the head is all
LENGTH: Final = 1  # Content-Length bytes follow
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3  # HTTP/1.0: the end of the connection is the end of the body

_status_lines: Final[dict[tuple[int, bytes], bytes]] = {}
_MAX_STATUS_LINES: Final = 512


def status_line(head: ResponseHead) -> bytes:
    """`HTTP/1.1 200 OK` with its CRLF; the version is this server's, not the message's (RFC 9110 §6.2)."""
    key = (head.status, head.reason)
    line = _status_lines.get(key)
    if line is None:
        line = b"HTTP/1.1 %d %b\r\n" % key
        if len(_status_lines) < _MAX_STATUS_LINES:
            _status_lines[key] = line
    return line


def framed(request: RequestHead, head: ResponseHead, date: bytes) -> tuple[bytes, bytes, int]:
    """The field lines of `head`, those that are missing, and the framing: CHUNKED for every body of unknown length.

    The same for every version of HTTP. `date` is the whole line, used where the answer has none (RFC 9110 §6.6.1).
    """
    status = head.status
    block = head.block
    has_length = head.has_length
    has_date = head.has_date
    if has_length is None or has_date is None:
        lowered = block.lower()
        has_length = lowered.startswith(b"content-length:") or b"\ncontent-length:" in lowered
        has_date = lowered.startswith(b"date:") or b"\ndate:" in lowered
    extra = b"" if has_date else date
    if status == 204 or status == 304 or request.method == b"HEAD":
        if has_length and status == 204:  # RFC 9110 §8.6: never in a 204
            block = render_fields([pair for pair in head.fields if pair[0].lower() != b"content-length"])
        elif not has_length and head.content_length is not None and status != 204 and status != 304:
            extra += b"Content-Length: %d\r\n" % head.content_length
        return block, extra, NO_BODY
    if head.content_length is not None:
        if not has_length:
            extra += b"Content-Length: %d\r\n" % head.content_length
        return block, extra, LENGTH
    if has_length:  # a length that nobody vouches for would frame the answer a second way
        block = render_fields([pair for pair in head.fields if pair[0].lower() != b"content-length"])
    return block, extra, CHUNKED


def answer_head(request: RequestHead, head: ResponseHead, keep_alive: bool, date: bytes) -> tuple[bytes, int, bool]:
    """The bytes of `head` for HTTP/1, the framing of what follows, and whether the connection may be used again."""
    plainly = keep_alive and request.version == HTTP_11 and request.method != b"HEAD"
    if plainly and head.sent_date is date:
        return head.sent, LENGTH, True
    block, extra, framing = framed(request, head, date)
    if framing == CHUNKED:
        if request.version == HTTP_10:
            framing = UNTIL_CLOSE
            keep_alive = False
        else:
            extra += b"Transfer-Encoding: chunked\r\n"
    if not keep_alive:
        extra += b"Connection: close\r\n"
    elif request.version == HTTP_10:
        extra += b"Connection: keep-alive\r\n"
    data = b"".join((status_line(head), block, extra, b"\r\n"))
    if head.is_shared and plainly and framing == LENGTH:
        head.sent = data
        head.sent_date = date
    return data, framing, keep_alive


def field_block(request: RequestHead, head: ResponseHead, date: bytes) -> tuple[bytes, int]:
    """`head` as a field block of HTTP/2, and the framing of what follows, as of `framed`."""
    plainly = request.method != b"HEAD"
    if plainly and head.sent_h2_date is date:
        return head.sent_h2, LENGTH
    lines, extra, framing = framed(request, head, date)
    block = b"".join((encode_status(head.status), encode_lines(lines), encode_lines(extra)))
    if head.is_shared and plainly and framing == LENGTH:
        head.sent_h2 = block
        head.sent_h2_date = date
    return block, framing


def informational_head(head: ResponseHead) -> bytes:
    """The bytes of a 1xx answer."""
    return b"".join((status_line(head), head.block, b"\r\n"))


def upgrade_head(head: ResponseHead, protocol: bytes) -> bytes:
    """The bytes of a 101 answer that switches to `protocol` (RFC 9110 §7.8)."""
    return b"".join((status_line(head), b"Connection: Upgrade\r\nUpgrade: ", protocol, b"\r\n", head.block, b"\r\n"))
