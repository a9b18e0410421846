"""RecoveryWatch: the files that a failure names, looked at until one of them differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from duck.services.inbox import Inbox, Timer

POLL_S: Final = 0.3

# Time, size, number and whether it may be read.
Signature = tuple[int, int, int, bool]


class RecoveryWatch:
    """Calls `on_change` once, as soon as one of the files named in a failure differs from what it was; `start` again
    for the next change.

    They are few, may lie outside the project, and may be written by any means: their size and time are compared a few
    times a second, which costs nothing worth mentioning and needs no observer.
    """

    def __init__(self, inbox: Inbox, files: Iterable[str], on_change: Callable[[list[str]], None]) -> None:
        self._inbox = inbox
        self._on_change = on_change
        self._before = {path: signature(path) for path in files}
        self._timer: Timer | None = None

    def add(self, files: Iterable[str]) -> None:
        """Look at `files`, too; those that are known are compared with what they were."""
        for path in files:
            self._before.setdefault(path, signature(path))

    def start(self) -> None:
        """Begin to look."""
        if self._before:
            self._timer = self._inbox.call_later(POLL_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._inbox.call_later(POLL_S, self._look)
        now = {path: signature(path) for path in self._before}
        changed = [path for path, before in self._before.items() if now[path] != before]
        if changed:
            self.stop()
            self._before = now
            self._on_change(changed)


def signature(path: str) -> Signature | None:
    """What differs once the file or directory at `path` has been written, or may be read again; None for no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, os.access(path, os.R_OK))
