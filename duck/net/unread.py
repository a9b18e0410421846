"""A request that could not be understood, as an exchange: for the log, which tells of it as of any other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from duck.net.exchange import CUT, SENT, Exchange
from duck.wire.head import HTTP_10, HTTP_11, told_head

if TYPE_CHECKING:
    from duck.exceptions import ProtocolError
    from duck.net.interfaces import Stream
    from duck.net.peer import Peer
    from duck.wire.head import RequestHead

# A request line that is one, whatever follows it.
_line: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/1\.([01])\r\n").match


def begun(data: bytes) -> RequestHead:
    """What can be told of a request of HTTP/1 that begins with `data`: its line, where that is complete and one."""
    match = _line(data)
    if match is None:
        return told_head(b"", b"", 0)
    return told_head(match[1], match[2], HTTP_10 if match[3] == b"0" else HTTP_11)


def unread(
    head: RequestHead, peer: Peer, stream: Stream, now: float, error: ProtocolError, *, status: int, size: int
) -> Exchange:
    """The exchange, over.

    Args:
        status: of the answer, 0 where there was none; `size`: of its body, in bytes.
    """
    exchange = Exchange(head, peer, stream, now, 0)
    exchange.answer_state = SENT if status else CUT
    exchange.status = status
    exchange.bytes_sent = size
    exchange.error = error
    exchange.ended_at = now
    return exchange
