"""Gathering: changed paths until the change is over, then one call with all of them; without what changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.services.ducksight.gitignore import lock_of
from duck.services.ducksight.recovery import signature

if TYPE_CHECKING:
    from duck.services.ducksight.burst import Burst
    from duck.services.ducksight.recovery import Signature
    from duck.services.inbox import Inbox, Timer

# A lock of Git's that is older was left by one that crashed.
_LOCK_S: Final = 10.0
# The kernel takes the time of a file from a clock that ticks so often.
_TICK_NS: Final = 10_000_000
# A bundler gives each build new names.
_MAX_KNOWN: Final = 20_000


class Gathering:
    """Calls `on_change` on the inbox's thread, with sorted paths. For that thread."""

    def __init__(self, inbox: Inbox, burst: Burst, on_change: Callable[[list[str]], None]) -> None:
        self._inbox = inbox
        self._burst = burst
        self._on_change = on_change
        self._known: dict[str, Signature | None] = {}  # of what has changed, as it was then
        self._began_ns = time.time_ns() - _TICK_NS
        self.since_ns = self._began_ns  # what was changed before that was told
        self._timer: Timer | None = None
        self._due = 0.0
        self._last = ""
        self._stopped = False

    def stop(self) -> None:
        """Call no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def changed(self, path: str, *, whole: bool) -> None:
        """The file at `path` was written or is gone; see `Burst.add`."""
        if self._stopped:
            return
        if path not in self._burst:
            now = signature(path)
            # An editor does more to a file than the one thing that has been acted upon.
            if path in self._known and self._known[path] == now:
                return
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[path] = now
        self._last = path
        self._burst.add(path, time.monotonic(), whole=whole)
        self._arm()

    def touched(self, path: str) -> None:
        """A new time is a change, as it is for Django, and so is a file that may be read again; a mode is none."""
        now = signature(path)
        if now is None:
            return
        may_be_read = now[3]
        if path in self._known:
            if may_be_read:
                self.changed(path, whole=True)
        elif not may_be_read:
            self._known[path] = now
        elif now[0] >= self._began_ns:
            self.changed(path, whole=True)

    def _arm(self) -> None:
        now = time.monotonic()
        wait_s = self._burst.wait_s(now, is_held=False)
        # A timer that is early looks again when it comes; only one that would be late is set anew.
        if wait_s is None or (self._timer is not None and self._due <= now + wait_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = now + wait_s
        self._timer = self._inbox.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        wait_s = self._burst.wait_s(now, is_held=self._git_works())
        if wait_s is None or self._stopped:
            return
        if wait_s > 0:
            self._due = now + wait_s
            self._timer = self._inbox.call_later(wait_s, self._look)
            return
        paths = self._burst.take(now)
        self.since_ns = time.time_ns() - _TICK_NS
        for path in paths:
            self._known[path] = signature(path)
        self._on_change(paths)

    def _git_works(self) -> bool:
        """Whether Git is about to change more: it holds its lock until a checkout is complete."""
        lock = lock_of(os.path.dirname(self._last))
        found = signature(lock) if lock is not None else None
        return found is not None and abs(time.time_ns() - found[0]) < _LOCK_S * 1e9
