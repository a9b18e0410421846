"""Backoff: how long to wait before a process that ended is started again: longer each time, until one has lasted."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.5
MOST_S: Final = 30.0
STEADY_S: Final = 10.0  # what has lasted so long did not end because of its start


class Backoff:
    """Of one process and those in its place.

    Args:
        first_s: the first wait; twice as long each time after that.
        most_s: no wait is longer.
        at_once: whether the first start after an end comes without a wait, and `first_s` is the second's.
    """

    def __init__(self, first_s: float = FIRST_S, most_s: float = MOST_S, *, at_once: bool = True) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._reset_s = 0.0 if at_once else first_s
        self._wait_s = self._reset_s

    def next_s(self, *, waits: bool = False) -> float:
        """The wait before the next start, in seconds; where it `waits` in any case, `first_s` at least."""
        wait_s = max(self._wait_s, self._first_s) if waits else self._wait_s
        self._wait_s = min(max(2 * wait_s, self._first_s), self._most_s)
        return wait_s

    def lasted(self, seconds: float) -> None:
        """What was started has lasted so long, and ended."""
        if seconds >= STEADY_S:
            self._wait_s = self._reset_s
