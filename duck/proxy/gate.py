"""The gate: requests pass, or wait while a backend starts or restarts, or are told that it is broken.

OPEN    requests pass
HOLDING they wait, in order, until the gate opens, breaks, or their deadline passes
BROKEN  they are answered by `on_broken` at once
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendBusy, ClientGone
from duck.net.clock import NEVER

if TYPE_CHECKING:
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange

logger = logging.getLogger("duck.proxy")

OPEN: Final = "open"
HOLDING: Final = "holding"
BROKEN: Final = "broken"


class _Held:
    __slots__ = ("deadline", "exchange", "go", "since")

    def __init__(self, exchange: Exchange, go: Callable[[], None], since: float, deadline: float) -> None:
        self.exchange = exchange
        self.go = go
        self.since = since
        self.deadline = deadline


class Gate:
    """Holds what cannot be answered yet; on one loop.

    Args:
        max_held: further requests are refused at once.
        timeout_s: how long one waits.
        refuse: answers a request that waited in vain.
        what: they wait for, in its words.
    """

    def __init__(
        self,
        clock: Clock,
        refuse: Callable[[Exchange, BackendBusy], None],
        *,
        max_held: int = 4096,
        timeout_s: float = 60.0,
        what: str = "Django",
    ) -> None:
        self.state = HOLDING
        self.deadline = NEVER
        self._clock = clock
        self._refuse = refuse
        self._max_held = max_held
        self._timeout_s = timeout_s
        self._what = what
        self._held: deque[_Held] = deque()
        clock.watched.add(self)

    @property
    def held(self) -> int:
        """How many requests wait."""
        return len(self._held)

    def wait(self, exchange: Exchange, go: Callable[[], None]) -> None:
        """Call `go` when the gate is no longer holding; never after the exchange is over."""
        if len(self._held) >= self._max_held:
            self._refuse(exchange, BackendBusy(f"{len(self._held)} requests wait for {self._what} to start already"))
            return
        now = self._clock.time()
        deadline = now + self._timeout_s
        self._held.append(_Held(exchange, go, now, deadline))
        self.deadline = min(self.deadline, deadline)

    def hold(self) -> None:
        """Let requests wait from now on."""
        self.state = HOLDING

    def open(self) -> None:
        """Let them pass, those that waited first."""
        self.state = OPEN
        self._release()

    def break_(self) -> None:
        """Nothing will come before something is mended: those that wait are told."""
        self.state = BROKEN
        self._release()

    def expire(self, now: float) -> None:
        """Refuse who has waited too long."""
        held = self._held
        while held and held[0].deadline <= now:
            item = held.popleft()
            if not item.exchange.is_over:
                item.exchange.waited_s += now - item.since
                self._refuse(
                    item.exchange, BackendBusy(f"{self._what} did not become ready within {self._timeout_s:g} s")
                )
        self.deadline = held[0].deadline if held else NEVER

    def _release(self) -> None:
        held, self._held = self._held, deque()
        self.deadline = NEVER
        now = self._clock.time()
        for item in held:
            if not item.exchange.is_over:
                item.exchange.waited_s += now - item.since
                try:
                    item.go()
                except Exception as error:
                    # One that cannot go on (its client left within its body) must not take the others along.
                    if not isinstance(error, ClientGone):
                        logger.exception("a request that had waited failed")
                    item.exchange.abort(error)
