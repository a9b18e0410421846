"""Tally: counts what may come too often to be told each time, and tells it once a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

EACH_S: Final = 60.0
# Of different things; the rest is counted as one.
_MOST: Final = 20
_OTHERS: Final = "and others"


class Tally:
    """Counts sentences. For one thread; moments are handed in, in seconds of a steady clock.

    Args:
        tell: is given how often something came since it was told last, and what it was.

    Attributes:
        total: how often anything came.
    """

    def __init__(self, tell: Callable[[int, str], None]) -> None:
        self.total = 0
        self._tell = tell
        self._counts: dict[str, int] = {}
        self._not_before = 0.0

    def add(self, what: str, now: float) -> None:
        """It came once more; the first after a quiet minute is told at once."""
        self.total += 1
        if what not in self._counts and len(self._counts) >= _MOST:
            what = _OTHERS
        self._counts[what] = self._counts.get(what, 0) + 1
        self.look(now)

    def look(self, now: float) -> None:
        """Tell what is to be told by now; called now and then."""
        if not self._counts or now < self._not_before:
            return
        counts, self._counts = self._counts, {}
        self._not_before = now + EACH_S
        for what, count in counts.items():
            self._tell(count, what)
