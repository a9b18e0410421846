"""How what a request costs (see measure) gets to the front: over the link in frames, from ASGI in a sealed field.

A whole answer carries it. A streamed answer over the link is told of when it begins and again at its end; of one
through ASGI, whose servers send no trailers, only what it had cost when it began.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ....wire.link import measure_frame, split_request
from .identity import Identified, Receive, Scope, Send
from .measure import Tally, current
from .slot import Slot

# The name of the private field; its value is `<secret> <queries> <database us> <template us> <us in all>`.
FIELD = "x-duck-measure"


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

        async def send_sealed(message: Dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told = secret + b" " + b" ".join(b"%d" % count for count in tally.counts())
                message = {**message, "headers": [*message.get("headers", ()), (FIELD.encode(), told)]}
            await send(message)

        token = current.set(tally)
        try:
            await super()._serve(scope, receive, send_sealed, weight)
        finally:
            current.reset(token)
