"""How what a request costs (see measure) gets to the front: over the link in frames, from ASGI in a sealed field.

A whole answer carries it. A streamed one is told of when it begins and again at its end. Servers for ASGI send no
trailers, so what is told at the end of a body without a length is its tail, which the front takes off: a mark that the
field has named, made for this answer alone, and four numbers.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Dict, List, Optional

from ....wire.link import MAX_U32, measure_frame, split_request
from .identity import Identified, Receive, Scope, Send
from .measure import Tally, current
from .slot import Slot

# The private field; its value is `<secret> <queries> <database us> <template us> <us in all> [<mark, hexadecimal>]`.
FIELD = b"x-duck-measure"
# A mark begins with a byte that no text has, so that a stream of text is never held back for it.
_MARK_BYTES = 15
_COUNTS = struct.Struct("!IIII")


class MeasuredSlot(Slot):
    """A slot that tells what its requests cost."""

    _tally: Optional[Tally] = None

    def _request(self, data: bytes) -> None:
        items = split_request(data)[0]
        self._tally = Tally(lambda: f"{items[0]} {items[2]}")
        token = current.set(self._tally)
        try:
            super()._request(data)
        finally:
            current.reset(token)

    def _cost(self) -> bytes:
        return measure_frame(*self._tally.counts()) if self._tally is not None else b""

    def _whole_answer(self, body: bytes) -> bytes:
        whole = super()._whole_answer(body)
        return self._cost() + whole

    def _write_body(self, chunk: bytes) -> None:
        if not self._ended and not self._head_sent and self._headers is not None:
            self._send(self._cost())
        super()._write_body(chunk)

    def _end(self) -> None:
        self._send(self._cost())
        super()._end()

    def _fail(self, error: BaseException, items: List[str]) -> None:
        if not self._head_sent:
            self._send(self._cost())
        super()._fail(error, items)


class MeasuredIdentified(Identified):
    """The same around an ASGI application."""

    async def _serve(self, scope: Scope, receive: Receive, send: Send, weight: int) -> None:
        if scope["type"] != "http":
            await super()._serve(scope, receive, send, weight)
            return
        tally = Tally(lambda: f"{scope['method']} {scope['path']}")
        secret = self._secret
        mark = b""

        async def send_sealed(message: Dict[str, Any]) -> None:
            nonlocal mark
            kind = message["type"]
            if kind == "http.response.start":
                headers = list(message.get("headers", ()))
                mark = b"\0" + os.urandom(_MARK_BYTES) if _is_open_ended(scope, message["status"], headers) else b""
                told = [secret, *(b"%d" % count for count in tally.counts())]
                if mark:
                    told.append(mark.hex().encode())
                message = {**message, "headers": [*headers, (FIELD, b" ".join(told))]}
            elif kind == "http.response.body" and mark and not message.get("more_body"):
                counts = (min(count, MAX_U32) for count in tally.counts())
                message = {**message, "body": bytes(message.get("body", b"")) + mark + _COUNTS.pack(*counts)}
                mark = b""
            await send(message)

        token = current.set(tally)
        try:
            await super()._serve(scope, receive, send_sealed, weight)
        finally:
            current.reset(token)


def _is_open_ended(scope: Scope, status: int, headers: List[Any]) -> bool:
    """Whether a body follows whose length nobody has declared."""
    if scope["method"] == "HEAD" or status in (204, 304):
        return False
    return not any(bytes(name).lower() == b"content-length" for name, _ in headers)
