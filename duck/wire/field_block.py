"""The field lines of a request, parsed strictly and once (RFC 9112 §5, §6.3).

A client's requests differ in their first line and little else, and clients of one kind in their cookies and little
else. Parsing is a pure function of the bytes, so blocks that are equal but for the value of Cookie share one result; a
look-up costs 0.8 us where parsing a browser's block takes 5. That value is not remembered, and checked each time. The
memory is bounded, and holds what was asked for last.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.fields import LINE_BYTES, Fields, is_name, split_lines, tokens
from duck.wire.head import FieldBlock, RequestHead
from duck.wire.memory import Memory

# Fields that mean something to whoever frames the message; everything else is only passed on.
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
HOST: Final = 3
CONNECTION: Final = 4
EXPECT: Final = 5
UPGRADE: Final = 6
TE: Final = 7
HOP: Final = 8
CLAIM: Final = 9
DATE: Final = 10  # of answers; a request's is only passed on

KINDS: Final[dict[bytes, int]] = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"host": HOST,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"te": TE,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authorization": HOP,
    b"proxy-authenticate": HOP,
    b"trailer": HOP,
    b"forwarded": CLAIM,
    b"x-real-ip": CLAIM,
    b"x-request-id": CLAIM,
    b"proxy": CLAIM,
    b"date": DATE,
}
# Clients spell a name the same way every time: the dictionary learns spellings, up to a bound, so that most fields
# cost one look-up and no `lower()`.
SPELLINGS: Final[dict[bytes, int]] = {}
_MAX_SPELLINGS: Final = 2048

# uri-host [":" port] (RFC 9110 §7.2, RFC 3986 §3.2.2), without userinfo; what is in the brackets is looked at after it.
_AUTHORITY: Final = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?"
)

_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade"))


_blocks: Final[Memory[FieldBlock]] = Memory(256, 4096)
# Apart from the others: their keys are no blocks, and a block that looks like one of them must not be found here.
_cut_blocks: Final[Memory[FieldBlock]] = Memory(256, 4096)


def request_fields(block: bytes, max_fields: int) -> tuple[FieldBlock, bytes]:
    """What the lines of `block` say without the value of Cookie, and that value as received.

    Where Cookie stands first, is spelled in another way than here, or its name and colon stand within a later value,
    it stays with the rest: such blocks are only parsed more often.

    Raises:
        ProtocolError: 400, 417, 431 or 501.
    """
    before, found, after = block.rpartition(b"ookie: ")
    if found:
        cookie, end, behind = after.partition(b"\r\n")
        if end and not cookie.translate(None, LINE_BYTES):
            # No block that was let pass holds NUL: a key that is known was cut at the same place, behind the same name.
            key = b"".join((before, b"\0", behind))
            known = _cut_blocks.young.get(key)
            if known is None:
                known = _cut_blocks.recall(key)
                if known is None and before.endswith((b"\nC", b"\nc")):
                    known = parse_field_block(b"".join((before, b"ookie: \r\n", behind)), max_fields)
                    known.cookie_at = before.count(b"\n")
                    _cut_blocks.keep(key, known)
            if known is not None:
                if len(known.fields) > max_fields:
                    raise LimitExceeded(f"more than {max_fields} fields", 431)
                return known, cookie
    return field_block(block, max_fields), b""


def field_block(block: bytes, max_fields: int) -> FieldBlock:
    """What the lines of `block`, each with its CRLF, say.

    Raises:
        ProtocolError: 400, 417, 431 or 501.
    """
    known = _blocks.young.get(block)
    if known is None:
        known = _blocks.recall(block)
        if known is None:
            known = parse_field_block(block, max_fields)
            _blocks.keep(block, known)
    if len(known.fields) > max_fields:
        raise LimitExceeded(f"more than {max_fields} fields", 431)
    return known


def parse_field_block(block: bytes, max_fields: int) -> FieldBlock:
    """`field_block` without its memory."""
    lines = split_lines(block)
    if lines is None:
        raise ProtocolError("a control byte or a bare CR or LF in the head")
    if len(lines) > max_fields:
        raise LimitExceeded(f"more than {max_fields} fields", 431)
    fields: Fields = []
    parsed = FieldBlock(fields, lines)
    content_length: bytes | None = None
    transfer_encodings: list[bytes] = []
    connection: list[bytes] = []
    expect: list[bytes] = []
    upgrade: list[bytes] = []
    te: list[bytes] = []
    spellings = SPELLINGS
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip()
        fields.append((name, value))
        kind = spellings.get(name, -1)
        if kind < 0:
            kind = kind_of(name)
        if not colon:
            raise ProtocolError("a field line without a colon")
        if kind == 0 or kind == DATE:
            continue
        if kind == HOST:
            if parsed.authority is not None:
                raise ProtocolError("more than one Host")
            if value:
                check_authority(value)
            parsed.authority = value
            continue
        if kind == CONTENT_LENGTH:
            if content_length is not None:
                # Even equal ones: a list may be repaired by one recipient and refused by the next (RFC 9112 §6.3).
                raise ProtocolError("more than one Content-Length")
            content_length = value
            continue
        if kind == CLAIM:
            parsed.claims.append(len(fields) - 1)
            continue
        parsed.hops.append(len(fields) - 1)
        if kind == CONNECTION:
            connection.append(value)
        elif kind == TRANSFER_ENCODING:
            transfer_encodings.append(value)
        elif kind == EXPECT:
            expect.append(value)
        elif kind == UPGRADE:
            upgrade.append(value)
        elif kind == TE:
            te.append(value)

    # Framing first (RFC 9112 §6.3): nothing else matters where it is in doubt.
    if transfer_encodings:
        if content_length is not None:
            raise ProtocolError("both Content-Length and Transfer-Encoding")
        _check_transfer_encoding(transfer_encodings)
        parsed.chunked = True
        parsed.content_length = None
    elif content_length is not None:
        parsed.content_length = parse_content_length(content_length)
    if connection:
        options = tokens(connection)
        parsed.close = b"close" in options
        parsed.keep_alive = b"keep-alive" in options
        if upgrade and b"upgrade" in options:
            parsed.upgrade = b", ".join(upgrade)
        parsed.connection_named = tuple([option for option in options if option not in _OPTIONS])
    if expect:
        if tokens(expect) != [b"100-continue"]:
            raise ProtocolError("the expectation is not known", 417)
        parsed.expects_continue = True
    if te:
        parsed.accepts_trailers = b"trailers" in tokens(te)
    return parsed


def kind_of(name: bytes) -> int:
    """Which of the fields above `name`, in any spelling, is; 0 for any other.

    Raises:
        ProtocolError: 400: it is no field name.
    """
    if not is_name(name):
        raise ProtocolError("a malformed field name")
    lowered = name.lower()
    kind = CLAIM if lowered.startswith(b"x-forwarded-") or b"_" in lowered else KINDS.get(lowered, 0)
    if len(name) <= 64:
        if len(SPELLINGS) >= _MAX_SPELLINGS:
            SPELLINGS.clear()  # filled by names nobody repeats: what is in use is learned again at once
        SPELLINGS[name] = kind
    return kind


def replace_fields(known: FieldBlock, fields: Fields) -> FieldBlock:
    """`known` with other fields in place of its own, framing and connection untouched."""
    changed = FieldBlock(fields)
    for name in (
        "authority",
        "chunked",
        "close",
        "connection_named",
        "content_length",
        "expects_continue",
        "keep_alive",
        "upgrade",
        "accepts_trailers",
    ):
        setattr(changed, name, getattr(known, name))
    for index, (name_bytes, _) in enumerate(fields):
        kind = kind_of(name_bytes)
        if kind == CLAIM:
            changed.claims.append(index)
        elif kind not in (0, HOST, CONTENT_LENGTH, DATE):
            changed.hops.append(index)
    return changed


def with_fields(request: RequestHead, fields: Fields) -> RequestHead:
    """`request` with other fields; framing and connection stay what they were, whatever the fields say."""
    return RequestHead(
        request.method,
        request.target,
        replace_fields(request.block, fields),
        scheme=request.scheme,
        authority=request.authority,
        version=request.version,
        content_length=request.content_length,
        keep_alive=request.keep_alive,
        expects_continue=request.expects_continue,
        upgrade=request.upgrade,
    )


def check_authority(authority: bytes) -> None:
    """Refuse a Host that is empty or has userinfo, a path, bad characters, or no possible port (RFC 9112 §3.2).

    Raises:
        ProtocolError: 400.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2] or 0) > 65535:
        raise ProtocolError("a malformed Host")
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1].decode("ascii"))
        except ValueError:
            raise ProtocolError("a malformed Host") from None


def parse_content_length(value: bytes) -> int:
    """Bytes, from a Content-Length value (RFC 9110 §8.6): digits alone, no sign, list, space or underscore.

    Raises:
        ProtocolError: it is not such a number.
    """
    if not value.isdigit() or len(value) > 18:
        raise ProtocolError("a malformed Content-Length")
    return int(value)


def _check_transfer_encoding(values: list[bytes]) -> None:
    codings = tokens(values)
    if codings == [b"chunked"] and len(values) == 1 and values[0].lower() == b"chunked":
        return
    # An empty list member, or chunked anywhere but at the end: where the body ends is anybody's guess.
    if not codings or codings[-1] != b"chunked" or b"chunked" in codings[:-1] or len(values) > 1:
        raise ProtocolError("a Transfer-Encoding that does not say where the body ends")
    if len(codings) == 1:
        raise ProtocolError("a malformed Transfer-Encoding")
    raise ProtocolError("a transfer coding that is not known", 501)
