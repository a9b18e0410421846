"""Burst: when a change is over. One saved file is over at once; a checkout of a branch is one change."""

from __future__ import annotations

from typing import Final

# What one editor saves at once ("save all") comes within a few milliseconds.
QUIET_S: Final = 0.02
# A formatter, a checkout, a file that is still being written.
BUSY_QUIET_S: Final = 0.15
# How many files a person saves at once.
FEW: Final = 3
# Another file so soon after what was acted upon: somebody works through many.
FOLLOWS_S: Final = 0.5
# A file that is written on and on is acted upon after so long; new ones make a burst longer, up to the second limit.
LONGEST_S: Final = 2.0
LONGEST_OF_ALL_S: Final = 60.0
HELD_S: Final = 0.02


class Burst:
    """Gathers changes until nothing has come for a while.

    Times are of any one clock, in seconds.

    Args:
        quiet_s: after a few files that were saved as a whole (closed after writing, or renamed into place).
        busy_quiet_s: after many, after one that is not whole or gone, and after another file than the last was about.
        longest_s: since a file has come that was not among them yet.
    """

    __slots__ = (
        "_before",
        "_first",
        "_first_of_newest",
        "_last",
        "_taken",
        "_whole",
        "busy_quiet_s",
        "longest_s",
        "quiet_s",
    )

    def __init__(
        self, quiet_s: float = QUIET_S, longest_s: float = LONGEST_S, *, busy_quiet_s: float = BUSY_QUIET_S
    ) -> None:
        self.quiet_s = quiet_s
        self.busy_quiet_s = max(quiet_s, busy_quiet_s)
        self.longest_s = longest_s
        self._whole: dict[str, bool] = {}
        self._first = 0.0
        self._first_of_newest = 0.0  # when the path that is newest among them came first
        self._last = 0.0
        self._before: frozenset[str] = frozenset()  # what was taken last, and when
        self._taken = float("-inf")

    def __contains__(self, path: str) -> bool:
        return path in self._whole

    def add(self, path: str, now: float, *, whole: bool = True) -> None:
        """`path` changed; it is `whole` unless it may be written to again at once, or is gone and may come back."""
        if not self._whole:
            self._first = now
        if path not in self._whole:
            self._first_of_newest = now
        self._last = now
        self._whole[path] = whole

    def wait_s(self, now: float, *, is_held: bool = False) -> float | None:
        """Seconds until the burst is over, 0 when it is; None while there is none.

        While it `is_held`, by somebody who is known to go on, it is not over; ask again after what is given then.
        """
        if not self._whole:
            return None
        if is_held:
            return max(0.0, min(HELD_S, self._first + LONGEST_OF_ALL_S - now))
        quiet_s = self.busy_quiet_s if self._is_busy else self.quiet_s
        end = min(self._last + quiet_s, self._first_of_newest + self.longest_s, self._first + LONGEST_OF_ALL_S)
        return max(0.0, end - now)

    def take(self, now: float) -> list[str]:
        """What changed, sorted; the next change begins a new burst."""
        paths, self._whole = self._whole, {}
        self._before, self._taken = frozenset(paths), now
        return sorted(paths)

    @property
    def _is_busy(self) -> bool:
        if len(self._whole) > FEW or not all(self._whole.values()):
            return True
        return self._first - self._taken < FOLLOWS_S and not self._before.issuperset(self._whole)
