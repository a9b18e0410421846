"""What a client sent, as it may stand in a line of a log."""

from __future__ import annotations

import re
from typing import Final

# What may stand in a line as it is: printable ASCII without quote and backslash.
SAFE: Final = bytes([byte for byte in range(32, 127) if byte not in b'"\\'])
_UNSAFE_BYTES: Final = re.compile(rb"[^ !#-\[\]-~]")


def safe(value: bytes) -> str:
    """`value` in printable ASCII without quotes and backslashes."""
    if value.translate(None, SAFE):
        value = _UNSAFE_BYTES.sub(_escape_byte, value)
    return value.decode("ascii")


def safe_text(text: str) -> str:
    """The same of text, which may repeat what a client sent."""
    return safe(text.encode("utf-8", "replace"))


def _escape_byte(match: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % match[0][0]
