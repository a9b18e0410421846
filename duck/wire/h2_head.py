"""What the fields of an HTTP/2 message say, held to the rules of HTTP/1 (RFC 9113 §8).

A request becomes lines of HTTP/1 and is read by the parser of those: what it refuses there it refuses here, and fields
that were seen before are known. What HTTP/2 alone can get wrong is malformed (§8.1.1) and resets the stream.
"""

from __future__ import annotations

import re
from typing import Final

from duck.exceptions import Http2Error, LimitExceeded, ProtocolError
from duck.wire.field_block import field_block, request_fields
from duck.wire.fields import Fields, get, is_name
from duck.wire.framing import MAX_TRAILER_BYTES, MAX_TRAILERS, may_trail
from duck.wire.h1 import MAX_METHOD_BYTES
from duck.wire.h2_frames import PROTOCOL_ERROR
from duck.wire.head import HTTP_2, RequestHead
from duck.wire.hpack import (
    AUTHORITY,
    BAD_NAME,
    BAD_VALUE,
    COOKIE,
    HOP,
    HOST,
    METHOD,
    PATH,
    PLAIN,
    PROTOCOL,
    SCHEME,
    TE,
    Field,
)

# As in a request line: visible ASCII without a fragment.
is_target: Final = re.compile(rb"[!-\"$-~]+").fullmatch

_MALFORMED: Final = {
    BAD_NAME: "a field name that is no lower-case token",
    BAD_VALUE: "a field value with a control byte, or space around it",
    HOP: "a field that belongs to a connection of HTTP/1",
}


def request_head(
    fields: list[Field], *, ended: bool, scheme: bytes, max_fields: int, max_target_bytes: int
) -> RequestHead:
    """The request that `fields` make; `ended`: there is no body.

    An extended CONNECT (RFC 8441) becomes the GET that HTTP/1 has in its place, with `upgrade`; its stream's bytes are
    those of the protocol then, and its `Sec-WebSocket-Key` is still to be added (`with_key`).

    Args:
        scheme: of the connection; what `:scheme` says is looked at and not believed.

    Raises:
        Http2Error: the message is malformed: PROTOCOL_ERROR, of the stream.
        ProtocolError: it is refused with a status, as by HTTP/1.
    """
    method = path = said_scheme = authority = protocol = None
    host: Field | None = None
    crumbs: list[bytes] | None = None
    lines: list[bytes] = [b""]
    for field in fields:
        kind = field.kind
        if kind == PLAIN:
            lines.append(field.line)
        elif kind == COOKIE:
            if crumbs is None:
                crumbs = []
            crumbs.append(field.value)
        elif kind == HOST:
            if host is not None:
                raise _malformed("more than one host")
            host = field
        elif kind == TE:
            if field.value != b"trailers":
                raise _malformed("a te that is not trailers")
            lines.append(field.line)
        elif kind in _MALFORMED:
            raise _malformed(_MALFORMED[kind])
        elif len(lines) > 1 or crumbs is not None or host is not None:
            raise _malformed("a pseudo-field behind a field")
        elif kind == METHOD and method is None:
            method = field.value
        elif kind == PATH and path is None:
            path = field.value
        elif kind == SCHEME and said_scheme is None:
            said_scheme = field.value
        elif kind == AUTHORITY and authority is None:
            authority = field
        elif kind == PROTOCOL and protocol is None:
            protocol = field.value
        else:
            raise _malformed("a pseudo-field that is unknown, or comes twice")

    if method is None:
        raise _malformed("no :method")
    if method == b"CONNECT" and protocol is None:
        if path is not None or said_scheme is not None or authority is None:
            raise _malformed("a CONNECT with other pseudo-fields than :authority")
        raise ProtocolError("CONNECT is not offered: this is no forward proxy", 501)
    if not path or said_scheme is None:
        raise _malformed("no :path or no :scheme")
    if protocol is not None and (method != b"CONNECT" or authority is None):
        raise _malformed("a :protocol without CONNECT or :authority")
    if authority is None:
        if host is None:
            raise ProtocolError("no Host")
        authority = host
    elif host is not None and host.value != authority.value:
        raise _malformed("a host that is not the :authority")
    if not authority.value:
        raise ProtocolError("an empty Host")
    if said_scheme != b"https" and said_scheme != b"http":
        raise ProtocolError("a scheme that is not served here")
    if len(method) > MAX_METHOD_BYTES:
        raise ProtocolError("a method of this length is not known", 501)
    if len(path) > max_target_bytes:
        raise LimitExceeded("the request target is too long", 414)
    if path[0] != 47 and (path != b"*" or method != b"OPTIONS"):  # "/"
        raise ProtocolError("a malformed request target")
    if is_target(path) is None or not is_name(method):
        raise ProtocolError("a malformed request target or method")

    lines[0] = authority.line
    if crumbs is not None:
        lines.append(b"cookie: %b\r\n" % (crumbs[0] if len(crumbs) == 1 else b"; ".join(crumbs)))
    block, cookie = request_fields(b"".join(lines), max_fields)
    length = block.content_length
    if protocol is not None:
        if protocol != b"websocket":
            raise ProtocolError("this protocol is not spoken here", 501)
        if length or ended:
            raise ProtocolError("a WebSocket handshake with a body, or without a stream")
        return RequestHead(
            b"GET",
            path,
            block,
            cookie,
            scheme=scheme,
            authority=authority.value,
            version=HTTP_2,
            upgrade=b"websocket",
        )
    if ended:
        if length:
            raise _malformed("a Content-Length, and no body")
    elif length == 0 and get(block.fields, b"content-length") is None:
        length = None
    return RequestHead(
        method,
        path,
        block,
        cookie,
        scheme=scheme,
        authority=authority.value,
        version=HTTP_2,
        content_length=length,
        expects_continue=block.expects_continue and length != 0,
    )


def with_key(request: RequestHead, key: bytes) -> RequestHead:
    """`request`, a WebSocket handshake, with the `Sec-WebSocket-Key` that HTTP/1 has and HTTP/2 has not."""
    lines = [b"%b: %b\r\n" % pair for pair in request.fields if pair[0] != b"sec-websocket-key"]
    lines.append(b"sec-websocket-key: %b\r\n" % key)
    changed = request.copy()
    changed.cookie = b""
    changed.block = field_block(b"".join(lines), len(lines))
    return changed


def trailers(fields: list[Field]) -> Fields | None:
    """The trailers that may be passed on (RFC 9110 §6.5.1), or None.

    Raises:
        Http2Error: they are malformed, or too many: PROTOCOL_ERROR, of the stream.
    """
    if len(fields) > MAX_TRAILERS or sum([field.size for field in fields]) > MAX_TRAILER_BYTES:
        raise _malformed("trailers longer than allowed")
    found: Fields = []
    for field in fields:
        kind = field.kind
        if kind in _MALFORMED:
            raise _malformed(_MALFORMED[kind])
        if field.name[:1] == b":":
            raise _malformed("a pseudo-field in trailers")
        if may_trail(field.name):
            found.append((field.name, field.value))
    return found or None


def _malformed(what: str) -> Http2Error:
    return Http2Error(what, PROTOCOL_ERROR)
