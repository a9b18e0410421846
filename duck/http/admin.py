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
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from duck.wire.render import TEXT, answer_head, plain_error

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

logger = logging.getLogger("duck.http")

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
JSON_TYPE: Final = b"application/json"
# What the owner of the figures has, to tell them.
ANSWER_S: Final = 5.0

_METHODS: Final = (b"GET", b"HEAD")

T = TypeVar("T")
# Calls what it is given with the value: at once or later, on any thread.
Ask = Callable[[Callable[[T], None]], None]


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
            _Question(self._loop, exchange, METRICS_TYPE, _same).ask(self._metrics)
        else:
            _Question(self._loop, exchange, JSON_TYPE, _as_json).ask(self._status)


class _Question:
    """One exchange that is answered when the owner of the figures has told them; a `Producer` meanwhile."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, exchange: Exchange, content_type: bytes, render: Callable[[Any], bytes]
    ) -> None:
        self._loop = loop
        self._exchange = exchange
        self._content_type = content_type
        self._render = render
        self._deadline = loop.call_later(ANSWER_S, self._late)

    def ask(self, ask: Ask[Any]) -> None:
        self._exchange.producer = self
        try:
            ask(self._told)
        except Exception as error:
            logger.exception("%s cannot be told", self._exchange.request.path.decode("latin-1"))
            self._deadline.cancel()
            self._fail(error)

    def _told(self, value: Any) -> None:
        """On any thread; more than the first answer counts for nothing."""
        try:
            self._loop.call_soon_threadsafe(self._answer, value)
        except RuntimeError:
            pass  # the loop has ended, and its clients with it

    def _answer(self, value: Any) -> None:
        body = self._render(value)  # what cannot be rendered is answered at the deadline
        self._deadline.cancel()
        if not self._exchange.is_over:
            _answer(self._exchange, self._content_type, body)

    def _late(self) -> None:
        self._fail(TimeoutError(f"nothing was told within {ANSWER_S:g} s"))

    def _fail(self, error: Exception) -> None:
        exchange = self._exchange
        if not exchange.is_over:
            exchange.error = error
            exchange.response.answer(*plain_error(503, "Duck is too busy to tell. Ask again in a moment."))

    def pause(self) -> None:
        """Nothing that was told is long."""

    def resume(self) -> None:
        """See `pause`."""

    def cancel(self, error: Exception) -> None:
        """The client has left."""
        self._deadline.cancel()


def _answer(exchange: Exchange, content_type: bytes, body: bytes, status: int = 200) -> None:
    exchange.response.answer(answer_head(status, content_type, body), body)


def _same(value: bytes) -> bytes:
    return value


def _as_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
