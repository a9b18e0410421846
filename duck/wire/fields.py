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
# field-vchar plus SP and HTAB; obs-text is let through, as every server and Django do.
VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*"

_FIELD_LINE: Final = re.compile(rb"^(" + TOKEN + rb"):[ \t]*(" + VALUE + rb")\r\n", re.MULTILINE)
_NAME: Final = re.compile(TOKEN)
_VALUE: Final = re.compile(VALUE)

_find_field_lines: Final = _FIELD_LINE.findall
_is_name: Final = _NAME.fullmatch
_is_value: Final = _VALUE.fullmatch

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


def parse_fields(block: bytes) -> Fields | None:
    """The field lines of `block`, or None where any line is not exactly one.

    `block` is zero or more lines, each with its CRLF. Folded lines, spaces before the colon, bare CR or LF, empty names
    and control bytes are refused (RFC 9112 §5.1, §5.2). One regular expression does the work: each match starts at a
    line start and eats one LF, so as many matches as LFs means that nothing lies between them.
    """
    pairs: Fields = _find_field_lines(block)
    if len(pairs) != block.count(b"\n"):
        return None
    # Values keep trailing whitespace in the match: it is rare, and looked for only where it is.
    if b" \r\n" in block or b"\t\r\n" in block:
        return [(name, value.rstrip(b" \t")) for name, value in pairs]
    return pairs


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
