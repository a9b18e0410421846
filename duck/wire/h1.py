"""HTTP/1.1 heads (RFC 9112 §2-§6), strict: what could be read in two ways is refused, never repaired.

The tokenising is Duck's own: `bytes` methods do in C what a native parser does with a callback per field, and nothing
has to be switched off or checked twice. docs/explanation/http-parsing.md has the comparison with llhttp.
"""

from __future__ import annotations

import re
from typing import Final

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.field_block import (
    CLAIM,
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    EXPECT,
    HOST,
    KINDS,
    SPELLINGS,
    TRANSFER_ENCODING,
    UPGRADE,
    check_authority,
    kind_of,
    replace_fields,
    request_fields,
)
from duck.wire.fields import TOKEN, Fields, is_name, split_lines, tokens
from duck.wire.head import HTTP_10, HTTP_11, RequestHead, ResponseHead
from duck.wire.memory import Memory

MAX_METHOD_BYTES: Final = 32

# Visible ASCII but `#`: a fragment never goes on the wire (RFC 9112 §3.2), and some would cut the target at it.
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([!-\"$-~]+) HTTP/1\.([01])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_OTHER_VERSION: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9](?:\.[0-9])?")
_match_request_line: Final = _REQUEST_LINE.fullmatch
_ABSOLUTE_FORM: Final = re.compile(rb"(https?)://([^/?]*)([/?].*)?", re.IGNORECASE)


def parse_request_head(block: bytes, scheme: bytes = b"http", *, max_fields: int = 100) -> RequestHead:
    """The request line and fields of one HTTP/1.1 request (RFC 9112 §3, §5, §6).

    `block` runs from the method to the last field's CRLF, without the empty line.

    Raises:
        ProtocolError: with the status to send: 400, 414, 417, 431, 501 or 505.
    """
    line, _, rest = block.partition(b"\r\n")
    match = _match_request_line(line)
    if match is None:
        raise _request_line_error(line)
    method, target, minor = match.groups()
    fields, cookie = request_fields(rest, max_fields)
    keep_alive = minor == b"1"
    if not keep_alive:
        if fields.chunked:
            raise ProtocolError("Transfer-Encoding under HTTP/1.0")  # RFC 9112 §6.1: framing is faulty
        keep_alive = fields.keep_alive
        version = HTTP_10
    else:
        version = HTTP_11
    if len(method) > MAX_METHOD_BYTES:
        raise ProtocolError("a method of this length is not known", 501)
    if method == b"CONNECT":
        raise ProtocolError("CONNECT is not offered: this is no forward proxy", 501)
    authority = fields.authority
    if authority is None:
        if version == HTTP_11:
            raise ProtocolError("no Host")
        authority = b""
    elif not authority and version == HTTP_11:
        raise ProtocolError("an empty Host")
    if target[0] != 47:  # "/"
        target, named = _split_target(method, target)
        if named is not None:
            # RFC 9112 §3.2.2: what Host says is ignored, and replaced before it can be believed further on.
            authority = named
            whole = RequestHead(method, target, fields, cookie).fields
            others = [pair for pair in whole if pair[0].lower() != b"host"]
            fields = replace_fields(fields, [(b"Host", named), *others])
            fields.authority = named
            cookie = b""
    upgrade = fields.upgrade
    if upgrade is not None:
        upgrade = _possible_upgrade(upgrade, version, fields.content_length)
    return RequestHead(
        method,
        target,
        fields,
        cookie,
        scheme=scheme,
        authority=authority,
        version=version,
        content_length=fields.content_length,
        keep_alive=keep_alive and not fields.close,
        expects_continue=fields.expects_continue and version == HTTP_11 and fields.content_length != 0,
        upgrade=upgrade,
    )


def check_partial_head(data: bytes, max_head_bytes: int, max_fields: int) -> None:
    """Refuse the beginning of a request's head where no end could make it one that is accepted.

    Raises:
        ProtocolError: with the status to send, 400, 414 or 431.
    """
    if len(data) >= max_head_bytes:
        within_line = b"\r\n" not in data[:max_head_bytes]
        raise LimitExceeded("the request's head is too long", 414 if within_line else 431)
    lines = data.count(b"\n")
    if lines > max_fields + 1:
        raise LimitExceeded(f"more than {max_fields} fields", 431)
    # A bare LF can never become part of a head: say so now instead of waiting for a CRLF that will not come.
    if lines != data.count(b"\r\n"):
        raise ProtocolError("a bare LF in the head")


def _possible_upgrade(upgrade: bytes, version: int, content_length: int | None) -> bytes | None:
    """The protocols that may be switched to, or None where the request is an ordinary one (RFC 9110 §7.8).

    Behind a head that asks for an upgrade some recipients see the new protocol's bytes, others the body it announces.
    No WebSocket handshake has a body; h2c is asked for with any request by some clients, and may be ignored.
    """
    if version == HTTP_10:
        return None
    if content_length == 0:
        return upgrade
    if b"websocket" in tokens((upgrade,)):
        raise ProtocolError("a WebSocket handshake with a body")
    return None


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Origin-form of a target that does not begin with a slash, and the authority it names (RFC 9112 §3.2)."""
    if target == b"*":
        if method != b"OPTIONS":
            raise ProtocolError("the target * is for OPTIONS alone")
        return target, None
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise ProtocolError("a malformed request target")
    _, authority, rest = match.groups()
    check_authority(authority)
    if rest is None:
        return (b"*" if method == b"OPTIONS" else b"/"), authority
    return (rest if rest.startswith(b"/") else b"/" + rest), authority


def _request_line_error(line: bytes) -> ProtocolError:
    if _OTHER_VERSION.fullmatch(line) is not None and not line.endswith((b"HTTP/1.0", b"HTTP/1.1")):
        return ProtocolError("this version of HTTP is not spoken here", 505)
    method, space, _ = line.partition(b" ")
    if space and len(method) > MAX_METHOD_BYTES and is_name(method):
        return ProtocolError("a method of this length is not known", 501)
    if space and is_name(method) and not line.isascii():
        return ProtocolError("a request target with bytes that are not percent-encoded")  # as curl sends `?q=käse`
    return ProtocolError("a malformed request line")


class ResponseFacts:
    """What a backend's answer says about its framing and its connection.

    Attributes:
        head: end-to-end fields only; of an answer that equals others, shared by all of them.
        length: of the body that follows: bytes, 0, or None: by chunks, or until the connection ends.
        chunked: the body is chunked.
        keep_alive: the connection may be used again after the body.
        upgrade: of a 101: the protocol switched to.
    """

    __slots__ = ("chunked", "head", "keep_alive", "length", "status", "upgrade")

    def __init__(
        self, head: ResponseHead, length: int | None, chunked: bool, keep_alive: bool, upgrade: bytes | None
    ) -> None:
        self.head = head
        self.status = head.status
        self.length = length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.upgrade = upgrade


_answers: Final[Memory[ResponseFacts]] = Memory(128, 1024)


def response_facts(block: bytes, method: bytes) -> ResponseFacts:
    """`parse_response_head`, once for equal blocks, like `field_block`.

    Raises:
        ProtocolError: the backend does not speak HTTP/1.1; 502.
    """
    if method == b"HEAD":
        return parse_response_head(block, method)
    known = _answers.young.get(block)
    if known is None:
        known = _answers.recall(block)
        if known is None:
            known = parse_response_head(block, method)
            known.head.is_shared = True
            _answers.keep(block, known)
    return known


def parse_response_head(block: bytes, method: bytes, *, max_fields: int = 200) -> ResponseFacts:
    """The status line and fields of one answer to a request with `method` (RFC 9112 §4, §6.3).

    `block` runs from the version to the last field's CRLF, without the empty line. An answer that could be framed in
    two ways is refused like a request, for the next one on its connection would be forged.

    Raises:
        ProtocolError: the backend does not speak HTTP/1.1; 502.
    """
    line, _, rest = block.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError("a malformed status line", 502)
    status = int(match.group(2))
    lines = split_lines(rest)
    if lines is None:
        raise ProtocolError("a control byte or a bare CR or LF in the answer's head", 502)
    if len(lines) > max_fields:
        raise ProtocolError(f"more than {max_fields} fields in the answer", 502)
    keep_alive = match.group(1) == b"1"
    content_length: bytes | None = None
    transfer_encodings: list[bytes] | None = None
    connection: bytes | None = None
    upgrade: bytes | None = None
    plain = True
    has_date = False
    spellings = SPELLINGS
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip()
        fields.append((name, value))
        kind = spellings.get(name, -1)
        if kind < 0:
            if not is_name(name):
                raise ProtocolError("a malformed field name in the answer", 502)
            kind = kind_of(name)
        if not colon:
            raise ProtocolError("a field line without a colon in the answer", 502)
        if kind == 0 or kind == HOST or kind == EXPECT or kind == CLAIM:
            continue
        if kind == DATE:
            has_date = True
            continue
        if kind == CONTENT_LENGTH:
            if content_length is not None and content_length != value:
                raise ProtocolError("the answer has differing Content-Length fields", 502)
            if content_length is not None:
                plain = False
            content_length = value
            continue
        plain = False
        if kind == CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == TRANSFER_ENCODING:
            if transfer_encodings is None:
                transfer_encodings = []
            # Tabs stay: behind one, llhttp does not know the coding, and reads until the connection ends.
            transfer_encodings.append(line.partition(b":")[2].strip(b" "))
        elif kind == UPGRADE:
            upgrade = value
    named: list[bytes] = []
    if connection is not None:
        named = tokens((connection,))
        if b"close" in named:
            keep_alive = False
        elif not keep_alive:
            keep_alive = b"keep-alive" in named

    declared: int | None = None
    if content_length is not None:
        if not content_length.isdigit() or len(content_length) > 18:
            raise ProtocolError("the answer has a malformed Content-Length", 502)
        declared = int(content_length)
    chunked = False
    length: int | None
    if transfer_encodings is not None and content_length is not None:
        raise ProtocolError("the answer has both Content-Length and Transfer-Encoding", 502)
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if transfer_encodings is not None and (status < 200 or status == 204):
            raise ProtocolError("an answer that has no body came with a Transfer-Encoding", 502)
        if declared and status < 200:
            raise ProtocolError("an interim answer came with a Content-Length", 502)
        if declared is not None and (status < 200 or status == 204):
            # RFC 9110 §8.6: never in these; a client that believed it would wait for a body, or take the next answer.
            fields = [pair for pair in fields if pair[0].lower() != b"content-length"]
            declared = None
            plain = False
        length = 0
    elif transfer_encodings is not None:
        if len(transfer_encodings) > 1 or transfer_encodings[0].lower() != b"chunked" or match.group(1) == b"0":
            raise ProtocolError("the answer has a transfer coding that is not known", 502)
        chunked = True
        length = None
    elif declared is not None:
        length = declared
    else:
        length = None
        keep_alive = False  # the body ends with the connection
    if plain:
        head = ResponseHead(status, fields, block=rest, content_length=declared, reason=match.group(3) or b"")
    else:
        head = ResponseHead(status, _end_to_end(fields, named), content_length=declared, reason=match.group(3) or b"")
    head.has_date = has_date and b"date" not in named
    head.has_length = declared is not None
    return ResponseFacts(head, length, chunked, keep_alive, upgrade if status == 101 else None)


def _end_to_end(fields: Fields, named: list[bytes]) -> Fields:
    """`fields` without those of the connection and those it names; one Content-Length of several equal ones."""
    kept: Fields = []
    seen_length = False
    for pair in fields:
        name = pair[0].lower()
        kind = KINDS.get(name, 0)
        if kind == CONTENT_LENGTH:
            if seen_length:
                continue
            seen_length = True
        elif (kind != 0 and kind not in (HOST, EXPECT, CLAIM, DATE)) or name in named:
            continue
        kept.append(pair)
    return kept
