"""Question: an exchange that is answered when somebody on another thread has told what it asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

logger = logging.getLogger("duck.http")

# What the owner of the answer has, to tell it.
ANSWER_S: Final = 5.0

T = TypeVar("T")
# Calls what it is given with the value: at once or later, on any thread.
Ask = Callable[[Callable[[T], None]], None]


class Question:
    """One exchange that waits for a value; a `Producer` meanwhile.

    Args:
        answer: answers the exchange with the value, on its loop.
        deadline_s: after so long it is answered 503; ANSWER_S by default.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        exchange: Exchange,
        answer: Callable[[Exchange, Any], None],
        deadline_s: float | None = None,
    ) -> None:
        self._loop = loop
        self._exchange = exchange
        self._answer_with = answer
        self._deadline_s = ANSWER_S if deadline_s is None else deadline_s
        self._deadline = loop.call_later(self._deadline_s, self._late)

    def ask(self, ask: Ask[Any]) -> None:
        """Have `ask` find out; what it raises is answered 503."""
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
        if self._exchange.is_over:
            self._deadline.cancel()
            return
        self._answer_with(self._exchange, value)  # what cannot be rendered is answered at the deadline
        self._deadline.cancel()

    def _late(self) -> None:
        self._fail(TimeoutError(f"nothing was told within {self._deadline_s:g} s"))

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
