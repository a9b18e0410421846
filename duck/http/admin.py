"""What operators and balancers ask of Duck itself, on an address of its own.

    GET /livez      200: this process serves
    GET /readyz     200 where requests would be answered, else 503 and the reason
    GET /metrics    figures, in the text format of Prometheus
    GET /status     what `duck status --json` prints

Nothing here is for clients of the site, and nothing tells a secret; the address is the machine's own by default.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from duck.http.question import Ask, Question
from duck.wire.render import TEXT, answer_head, plain_error

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
JSON_TYPE: Final = b"application/json"

_METHODS: Final = (b"GET", b"HEAD")


class Admin:
    """Answers the paths above and no others (`Handler`); one for each loop.

    Readiness is a plain call, so that it is answered while the owner of the rest is busy.

    Args:
        not_ready: why requests would not be answered, in words; empty where they would be. For any thread.
        metrics: asks for the exposition.
        status: asks for what `duck status --json` prints.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        not_ready: Callable[[], str],
        metrics: Ask[bytes],
        status: Ask[dict[str, Any]],
    ) -> None:
        self._loop = loop
        self._not_ready = not_ready
        self._metrics = metrics
        self._status = status

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange`."""
        request = exchange.request
        path = request.path
        if path not in (b"/livez", b"/readyz", b"/metrics", b"/status"):
            exchange.response.answer(*plain_error(404, "Here are /livez, /readyz, /metrics and /status."))
        elif request.method not in _METHODS:
            allow = [(b"Allow", b"GET, HEAD")]
            exchange.response.answer(*plain_error(405, "This can be asked for with GET or HEAD.", fields=allow))
        elif path == b"/livez":
            _answer(exchange, TEXT, b"alive\n")
        elif path == b"/readyz":
            reason = self._not_ready()
            if reason:
                _answer(exchange, TEXT, f"not ready: {reason}\n".encode(), 503)
            else:
                _answer(exchange, TEXT, b"ready\n")
        elif path == b"/metrics":
            Question(self._loop, exchange, _answer_metrics).ask(self._metrics)
        else:
            Question(self._loop, exchange, _answer_status).ask(self._status)


def _answer(exchange: Exchange, content_type: bytes, body: bytes, status: int = 200) -> None:
    exchange.response.answer(answer_head(status, content_type, body), body)


def _answer_metrics(exchange: Exchange, value: bytes) -> None:
    _answer(exchange, METRICS_TYPE, value)


def _answer_status(exchange: Exchange, value: dict[str, Any]) -> None:
    _answer(exchange, JSON_TYPE, json.dumps(value, indent=2).encode() + b"\n")
