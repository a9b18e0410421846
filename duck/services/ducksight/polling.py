"""Polling: looking again and again, where nobody tells.

watchdog's polling observer makes a snapshot of whole trees and subtracts it from the one before. Here only what matters
is looked at, and a directory is listed again only when its own time says that names in it have changed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from duck.services.ducksight.filter import look_into, reaches
from duck.services.ducksight.places import is_at_or_below
from duck.services.ducksight.seen import Tell, What

if TYPE_CHECKING:
    from duck.services.ducksight.filter import ChangeFilter

logger = logging.getLogger("duck.services")

INTERVAL_S: Final = 1.0
# A look may cost this part of a processor at most: in a large tree, or over a slow network, they are rarer.
SHARE: Final = 0.04
# Network file systems tell times by the second or two: a listing so young may have missed a name.
_SETTLED_NS: Final = 3_000_000_000

_Stat = tuple[int, int, int]


class _Listing:
    """The content of one directory, as of the time that the directory had."""

    __slots__ = ("below", "names", "time_ns")

    def __init__(self, time_ns: int, names: list[str], below: list[str]) -> None:
        self.time_ns = time_ns
        self.names = names
        self.below = below


class Polling:
    """Looks at trees from a thread of its own, where `tell` is called. Other methods are for one thread.

    Args:
        interval_s: seconds from one look to the next.
    """

    def __init__(self, tell: Tell, chosen: ChangeFilter, roots: list[str], interval_s: float = INTERVAL_S) -> None:
        self._tell = tell
        self._chosen = chosen
        self._roots = roots
        self._interval_s = interval_s
        self._wanted: deque[tuple[ChangeFilter, list[str]]] = deque(maxlen=1)  # for the next look
        self._ended = threading.Event()
        self._files: dict[str, _Stat] = {}
        self._listings: dict[str, _Listing] = {}
        self.ready = threading.Event()  # the first look is over
        self._thread = threading.Thread(target=self._run, name="duck-sight-polling", daemon=True)

    def __len__(self) -> int:
        return len(self._listings)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def look_for(self, chosen: ChangeFilter, roots: list[str]) -> None:
        """From the next look on, look for what `chosen` wants below `roots`."""
        self._wanted.append((chosen, roots))

    def stop(self) -> None:
        """Look no more; what hangs in a file system that does not answer is left behind."""
        self._ended.set()
        self._thread.join(self._interval_s if self._thread.is_alive() else 0)

    def _run(self) -> None:
        while True:
            began, cpu = time.monotonic(), time.thread_time()
            known = self._files, self._listings
            try:
                self.look()
            except Exception:
                logger.exception("Files could not be looked at; they are looked at again.")
                self._files, self._listings = known
            else:
                self.ready.set()
            cost_s = max(time.thread_time() - cpu, (time.monotonic() - began) / 4)
            if self._ended.wait(max(self._interval_s, cost_s / SHARE)):
                return

    def look(self) -> None:
        """Look once at everything, and tell what differs from the last time; the first time nothing is told."""
        is_first = not self.ready.is_set()
        chosen, roots, listings = self._chosen, self._roots, self._listings
        is_renewed = bool(self._wanted)
        if is_renewed:
            self._chosen, self._roots = self._wanted.pop()
        before, self._files = self._files, {}
        self._listings = {}
        waiting = list(self._roots)
        while waiting and not self._ended.is_set():
            directory = waiting.pop()
            listing = self._list(directory, None if is_renewed else listings.get(directory))
            if listing is None:
                continue
            self._listings[directory] = listing
            waiting.extend(listing.below)
            # Where the filter before did not look nothing is known to have changed.
            is_known = not is_renewed or directory in listings or _is_reached(directory, roots, chosen)
            for name in listing.names:
                path = os.path.join(directory, name)
                try:
                    found = os.stat(path)
                except OSError:
                    continue  # gone meanwhile, or a link that leads nowhere
                self._files[path] = now = (found.st_mtime_ns, found.st_size, found.st_ino)
                if is_first or before.get(path) == now:
                    continue
                if path in before or (is_known and chosen.wants(path)):
                    self._say(What.WRITING, path)
        for path in before.keys() - self._files.keys():
            if not is_renewed or not os.path.exists(path):
                self._say(What.GONE, path)

    def _say(self, what: What, path: str) -> None:
        if not self._ended.is_set():
            self._tell(what, path)

    def _list(self, directory: str, before: _Listing | None) -> _Listing | None:
        try:
            time_ns = os.stat(directory).st_mtime_ns
        except OSError:
            return None
        if before is not None and before.time_ns == time_ns and time.time_ns() - time_ns > _SETTLED_NS:
            return before
        found = look_into(directory, self._chosen, is_root=directory in self._roots)
        return None if found is None else _Listing(time_ns, *found)


def _is_reached(directory: str, roots: list[str], chosen: ChangeFilter) -> bool:
    return any(is_at_or_below(directory, root) and reaches(directory, root, chosen) for root in roots)
