"""How much of its time a Django process computes, for this front and for all others. Pure.

Each end of a call tells the CPU time that all views of the process have had (FREE of wire.link), whichever front they
were for. So a front that asks a process now and then knows whether others keep it busy.
"""

from __future__ import annotations

from typing import Final

from duck.net.clock import NEVER
from duck.wire.link import MAX_U32

FULL: Final = 0.85  # of the time: more calls cannot make it faster
WINDOW_S: Final = 0.01
STALE_S: Final = 0.05  # what was seen earlier says nothing of now: the next calls find out


class Utilisation:
    """Of one process; told at each end of a call, in seconds of one monotonic clock."""

    __slots__ = ("_all_us", "_computed", "_full_at", "_since")

    def __init__(self) -> None:
        self._all_us = -1  # when it was told last; -1 before
        self._since = NEVER
        self._computed = 0.0
        self._full_at = -NEVER

    def told(self, now: float, all_us: int) -> float:
        """How long the process has computed since this was called last; 0 the first time.

        `all_us`: CPU microseconds of all its views, counted modulo 2**32.
        """
        before, self._all_us = self._all_us, all_us
        if before < 0:
            self._since = now
            return 0.0
        computed = ((all_us - before) & MAX_U32) * 1e-6
        self._computed += computed
        elapsed = now - self._since
        if elapsed >= WINDOW_S:
            self._full_at = now if self._computed >= FULL * elapsed else -NEVER
            self._since = now
            self._computed = 0.0
        return computed

    def is_full(self, now: float) -> bool:
        """Whether it has computed all the time, the last time that anybody looked, which was a moment ago."""
        return now - self._full_at < STALE_S
