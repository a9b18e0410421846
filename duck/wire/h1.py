"""HTTP/1.1 heads (RFC 9112 §2-§6), strict: what could be read in two ways is refused, never repaired.

The tokenising is Duck's own: `bytes` methods do in C what a native parser does with a callback per field, and nothing
has to be switched off or checked twice. docs/explanation/architecture.md has the comparison with llhttp.
"""

from __future__ import annotations

import re
from typing import Final

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.fields import TOKEN, Fields, is_name, split_lines, tokens
from duck.wire.head import HTTP_10, HTTP_11, RequestHead, ResponseHead

MAX_METHOD_BYTES: Final = 32

# Visible ASCII but `#`: a fragment never goes on the wire (RFC 9112 §3.2), and some would cut the target at it.
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([!-\"$-~]+) HTTP/1\.([01])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_OTHER_VERSION: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9](?:\.[0-9])?")
_match_request_line: Final = _REQUEST_LINE.fullmatch
_ABSOLUTE_FORM: Final = re.compile(rb"(https?)://([^/?]*)([/?].*)?", re.IGNORECASE)

# uri-host [":" port] (RFC 9110 §7.2, RFC 3986 §3.2.2); no userinfo, and no port above five digits.
_AUTHORITY: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?"
)

# Fields that mean something to whoever frames the message; everything else is only passed on.
_CONTENT_LENGTH: Final = 1
_TRANSFER_ENCODING: Final = 2
_HOST: Final = 3
_CONNECTION: Final = 4
_EXPECT: Final = 5
_UPGRADE: Final = 6
_TE: Final = 7
_HOP: Final = 8

_KINDS: Final[dict[bytes, int]] = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"host": _HOST,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    b"te": _TE,
    b"keep-alive": _HOP,
    b"proxy-connection": _HOP,
    b"proxy-authorization": _HOP,
    b"proxy-authenticate": _HOP,
    b"trailer": _HOP,
}
# Clients spell a name the same way every time: the dictionary learns spellings, up to a bound, so that most fields
# cost one look-up and no `lower()`.
_SPELLINGS: Final[dict[bytes, int]] = {}
_MAX_SPELLINGS: Final = 2048


def _kind(name: bytes) -> int:
    if not is_name(name):
        raise ProtocolError("a malformed field name")
    kind = _KINDS.get(name.lower(), 0)
    if len(_SPELLINGS) < _MAX_SPELLINGS and len(name) <= 64:
        _SPELLINGS[name] = kind
    return kind


def parse_request_head(block: bytes, scheme: bytes = b"http", *, max_fields: int = 100) -> RequestHead:
    """The request line and fields of one HTTP/1.1 request (RFC 9112 §3, §5, §6).

    `block` runs from the method to the last field's CRLF, without the empty line.

    Raises:
        ProtocolError: with the status to send: 400, 414, 431, 501 or 505.
    """
    lines = split_lines(block)
    if lines is None:
        raise ProtocolError("a control byte or a bare CR or LF in the head")
    match = _match_request_line(lines[0])
    if match is None:
        raise _request_line_error(lines[0])
    method, target, minor = match.groups()
    version = HTTP_11 if minor == b"1" else HTTP_10
    if len(lines) > max_fields + 1:
        raise LimitExceeded(f"more than {max_fields} fields", 431)
    del lines[0]

    host: bytes | None = None
    content_length: bytes | None = None
    transfer_encodings: list[bytes] | None = None
    connection: bytes | None = None
    expect: bytes | None = None
    upgrade: bytes | None = None
    te: bytes | None = None
    plain = True
    spellings = _SPELLINGS
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip()
        fields.append((name, value))
        kind = spellings.get(name, -1)
        if kind < 0:
            kind = _kind(name)
        if kind == 0 and colon:
            continue
        if not colon:
            raise ProtocolError("a field line without a colon")
        if kind == _HOST:
            if host is not None:
                raise ProtocolError("more than one Host")
            host = value
        elif kind == _CONNECTION:
            connection = value if connection is None else connection + b"," + value
            plain = False
        elif kind == _CONTENT_LENGTH:
            if content_length is not None:
                # Even equal ones: a list may be repaired by one recipient and refused by the next (RFC 9112 §6.3).
                raise ProtocolError("more than one Content-Length")
            content_length = value
        elif kind == _TRANSFER_ENCODING:
            if transfer_encodings is None:
                transfer_encodings = []
            transfer_encodings.append(value)
            plain = False
        elif kind == _EXPECT:
            expect = value if expect is None else expect + b"," + value
            plain = False
        elif kind == _UPGRADE:
            upgrade = value if upgrade is None else upgrade + b", " + value
            plain = False
        elif kind == _TE:
            te = value if te is None else te + b"," + value
            plain = False
        else:
            plain = False

    # Framing first (RFC 9112 §6.3): nothing else matters where it is in doubt.
    length: int | None = 0
    if transfer_encodings is not None:
        _check_transfer_encoding(transfer_encodings, version, content_length)
        length = None
    elif content_length is not None:
        length = parse_content_length(content_length)

    if len(method) > MAX_METHOD_BYTES:
        raise ProtocolError("a method of this length is not known", 501)
    if method == b"CONNECT":
        raise ProtocolError("CONNECT is not offered: this is no forward proxy", 501)
    if host is None:
        if version == HTTP_11:
            raise ProtocolError("no Host")
        host = b""
    elif host or version == HTTP_11:
        check_authority(host)
    if target[0] != 47:  # "/"
        target, authority = _split_target(method, target)
        if authority is not None:
            host = authority

    keep_alive = version == HTTP_11
    named: tuple[bytes, ...] = ()
    if connection is not None:
        options = tokens((connection,))
        if b"close" in options:
            keep_alive = False
        elif not keep_alive:
            keep_alive = b"keep-alive" in options
        if upgrade is not None and (b"upgrade" not in options or version == HTTP_10):
            upgrade = None
        named = tuple([option for option in options if option not in _OPTIONS])
    elif upgrade is not None:
        upgrade = None
    expects_continue = False
    if expect is not None and version == HTTP_11:
        expectations = tokens((expect,))
        if expectations != [b"100-continue"]:
            raise ProtocolError("the expectation is not known", 417)
        expects_continue = length != 0
    return RequestHead(
        method,
        target,
        fields,
        scheme=scheme,
        authority=host,
        version=version,
        content_length=length,
        keep_alive=keep_alive,
        expects_continue=expects_continue,
        upgrade=upgrade,
        accepts_trailers=te is not None and b"trailers" in tokens((te,)),
        connection_named=named,
        plain=plain,
    )


_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


def parse_content_length(value: bytes) -> int:
    """Bytes, from a Content-Length value (RFC 9110 §8.6): digits alone, no sign, list, space or underscore.

    Raises:
        ProtocolError: it is not such a number.
    """
    if not value.isdigit() or len(value) > 18:
        raise ProtocolError("a malformed Content-Length")
    return int(value)


def check_authority(authority: bytes) -> None:
    """Refuse a Host that is empty or has userinfo, a path or bad characters (RFC 9112 §3.2).

    Raises:
        ProtocolError: 400.
    """
    if _AUTHORITY.fullmatch(authority) is None:
        raise ProtocolError("a malformed Host")


def _check_transfer_encoding(values: list[bytes], version: int, content_length: bytes | None) -> None:
    if version == HTTP_10:
        raise ProtocolError("Transfer-Encoding under HTTP/1.0")  # RFC 9112 §6.1: framing is faulty
    if content_length is not None:
        raise ProtocolError("both Content-Length and Transfer-Encoding")
    codings = tokens(values)
    if codings == [b"chunked"] and len(values) == 1 and values[0].lower() == b"chunked":
        return
    # An empty list member, or chunked anywhere but at the end: where the body ends is anybody's guess.
    if not codings or codings[-1] != b"chunked" or b"chunked" in codings[:-1] or len(values) > 1:
        raise ProtocolError("a Transfer-Encoding that does not say where the body ends")
    if len(codings) == 1:
        raise ProtocolError("a malformed Transfer-Encoding")
    raise ProtocolError("a transfer coding that is not known", 501)


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
    return ProtocolError("a malformed request line")


class ResponseFacts:
    """What a backend's answer says about its framing and its connection.

    Attributes:
        head: end-to-end fields only, except for 101, which keeps `Upgrade`.
        length: of the body that follows: bytes, 0, or None: by chunks, or until the connection ends.
        chunked: the body is chunked.
        keep_alive: the connection may be used again after the body.
        upgrade: of a 101: the protocol switched to.
        trailers_announced: the names in `Trailer`.
    """

    __slots__ = ("chunked", "head", "keep_alive", "length", "upgrade")

    def __init__(
        self, head: ResponseHead, length: int | None, chunked: bool, keep_alive: bool, upgrade: bytes | None
    ) -> None:
        self.head = head
        self.length = length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.upgrade = upgrade


def parse_response_head(block: bytes, method: bytes, *, max_fields: int = 200) -> ResponseFacts:
    """The status line and fields of one answer to a request with `method` (RFC 9112 §4, §6.3).

    `block` runs from the version to the last field's CRLF, without the empty line. An answer that could be framed in
    two ways is refused like a request, for the next one on its connection would be forged.

    Raises:
        ProtocolError: the backend does not speak HTTP/1.1.
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
    spellings = _SPELLINGS
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip()
        fields.append((name, value))
        kind = spellings.get(name, -1)
        if kind < 0:
            kind = _kind(name)
        if not colon:
            raise ProtocolError("a field line without a colon in the answer", 502)
        if kind == 0 or kind == _HOST or kind == _EXPECT:
            continue
        if kind == _CONTENT_LENGTH:
            if content_length is not None and content_length != value:
                raise ProtocolError("the answer has differing Content-Length fields", 502)
            if content_length is not None:
                plain = False
            content_length = value
            continue
        plain = False
        if kind == _CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == _TRANSFER_ENCODING:
            if transfer_encodings is None:
                transfer_encodings = []
            transfer_encodings.append(value)
        elif kind == _UPGRADE:
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
    if status < 200 or status == 204 or status == 304 or method == b"HEAD":
        if transfer_encodings is not None and (status < 200 or status == 204):
            raise ProtocolError("an answer that has no body came with a Transfer-Encoding", 502)
        length = 0
    elif transfer_encodings is not None:
        if content_length is not None:
            raise ProtocolError("the answer has both Content-Length and Transfer-Encoding", 502)
        if tokens(transfer_encodings) != [b"chunked"] or match.group(1) == b"0":
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
    return ResponseFacts(head, length, chunked, keep_alive, upgrade if status == 101 else None)


def _end_to_end(fields: Fields, named: list[bytes]) -> Fields:
    """`fields` without those of the connection and those it names; one Content-Length of several equal ones."""
    kept: Fields = []
    seen_length = False
    for pair in fields:
        name = pair[0].lower()
        kind = _KINDS.get(name, 0)
        if kind == _CONTENT_LENGTH:
            if seen_length:
                continue
            seen_length = True
        elif (kind != 0 and kind != _HOST and kind != _EXPECT) or name in named:
            continue
        kept.append(pair)
    return kept
