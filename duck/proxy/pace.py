"""How many calls of one Django process run at once: all its threads, or one where more would only cost. Pure.

Threads that are busy in Python take turns with the interpreter lock, and each hand-over costs two wake-ups: a view that
takes 110 us alone took 150 with four at work. Where views are short and keep the lock busy, one call at a time gives
more answers for less; where they wait for a database or another service, threads are what makes them fast.

    wide   -> narrow    for WINDOW_S calls were always waiting, they were short, and the process computed all the time
    narrow -> wide      it computed less than ENOUGH of the time it had a call; or nobody came for IDLE_S

A call that takes longer than SLOW_S is not waited for in narrow pace: the next one starts beside it.
"""

from __future__ import annotations

from typing import Final

from duck.net.clock import NEVER
from duck.proxy.utilisation import FULL

WINDOW_S: Final = 0.02
SHORT_S: Final = 0.001  # at most, in the mean, for a narrow pace
ENOUGH: Final = 0.7
SLOW_S: Final = 0.003
IDLE_S: Final = 0.1
FIRST_PENALTY_S: Final = 0.5
MAX_PENALTY_S: Final = 60.0


class Pace:
    """The decision for one pool of links; told of each call's start and end, in seconds of one monotonic clock.

    Attributes:
        narrow: one call at a time, but for slow ones.
    """

    __slots__ = ("_calls", "_computed", "_had", "_penalty", "_retry_at", "_since", "narrow")

    def __init__(self) -> None:
        self.narrow = False
        self._since = NEVER  # the window's begin; NEVER while there is none
        self._calls = 0
        self._computed = 0.0
        self._had = 0.0  # time with a call, narrow only
        self._retry_at = 0.0
        self._penalty = FIRST_PENALTY_S

    def ended(self, now: float, computed: float, took: float, crowded: bool) -> None:
        """A call ended that took so long; `crowded`: others wait, or run beside it.

        `computed`: how long the process has computed since the last call ended, for whomever.
        """
        if self._since == NEVER or now - self._since > IDLE_S:
            # A pause, or the very first: what is known is not of today's views.
            self.narrow = False
            self._begin(now)
            return
        if not crowded and not self.narrow:
            self._since = NEVER
            return
        elapsed = now - self._since
        if not self.narrow or took <= elapsed:  # what began in wide pace had to wait for others
            self._calls += 1
            self._computed += computed
            self._had += took
        if elapsed < WINDOW_S:
            return
        if self.narrow:
            if self._computed < ENOUGH * self._had:
                self.narrow = False
                self._retry_at = now + self._penalty
                self._penalty = min(self._penalty * 2, MAX_PENALTY_S)
            elif now > self._retry_at + 2 * self._penalty:
                self._penalty = FIRST_PENALTY_S
        elif now >= self._retry_at and elapsed <= SHORT_S * self._calls and self._computed >= FULL * elapsed:
            self.narrow = True
            self._retry_at = now
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since = now
        self._calls = 0
        self._computed = self._had = 0.0
