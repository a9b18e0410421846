"""Why exchanges end before their time, in the words of logs and pages: the same over HTTP/1 and HTTP/2."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from duck.exceptions import ClientGone, LimitExceeded, ProtocolError
from duck.wire.head import RequestHead
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.wire.head import ResponseHead

logger = logging.getLogger("duck.net")

# What a refusal answers, its request being unreadable.
UNREADABLE: Final = RequestHead(b"GET", b"/", [])


def body_too_large(allowed: int) -> LimitExceeded:
    """The request's body has more than `allowed` bytes, or says that it will."""
    return LimitExceeded(f"the request's body is longer than the {allowed} bytes allowed here", 413)


def body_too_slow() -> LimitExceeded:
    """The request's body stood still, or came below the least rate."""
    return LimitExceeded("the request's body came too slowly", 408)


def body_cut_short() -> ClientGone:
    """The client sends no more, and the request's body is not all there."""
    return ClientGone("the client left within its request's body")


def answer_not_taken(seconds: float) -> ClientGone:
    """The client let its answer wait for `seconds`."""
    return ClientGone(f"the client took nothing of its answer for {seconds:g} s and was cut off")


def answer_cut() -> ClientGone:
    """Duck has no more time for the answer."""
    return ClientGone("Duck stopped before the answer was complete")


def answer_too_short(missing: int) -> ProtocolError:
    """Whoever made the answer promised `missing` bytes more; the log is told."""
    logger.warning("an answer is %d bytes shorter than its Content-Length: cut", missing)
    return ProtocolError("the answer is shorter than its Content-Length", 502)


def answer_too_long(data: bytes, left: int) -> bytes:
    """What of `data` was promised, `-left` bytes less: more would be read as the next answer (RFC 9112 §6.3)."""
    logger.warning("an answer is longer than its Content-Length; the rest was dropped")
    return data[:left]


def refusal(error: ProtocolError) -> tuple[ResponseHead, bytes]:
    """The answer to a request that cannot be understood, or whose body cannot be had."""
    return plain_error(error.status, f"{error}.", False)


def refuse_body(exchange: Exchange, error: ProtocolError) -> None:
    """Answer for a request whose body cannot be had, unless its handler has begun to."""
    if not exchange.is_answered and exchange.producer is None:
        exchange.error = error
        exchange.answer(*refusal(error))
