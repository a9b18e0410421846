"""Requests as tests write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duck.exceptions import ProtocolError
from duck.wire.h1 import parse_request_head

if TYPE_CHECKING:
    from duck.wire.head import RequestHead


def parse(
    *lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"example.org", max_fields: int = 100
) -> RequestHead:
    """The head with this request line, a Host unless `host` is None, and these field lines."""
    named = () if host is None else (b"Host: " + host,)
    block = b"".join(line + b"\r\n" for line in (start, *named, *lines))
    return parse_request_head(block, max_fields=max_fields)


def refusal(
    *lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"example.org", max_fields: int = 100
) -> int:
    """The status that this head is refused with; 0 where it is accepted."""
    try:
        parse(*lines, start=start, host=host, max_fields=max_fields)
    except ProtocolError as error:
        return error.status
    return 0
