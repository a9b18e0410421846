"""DuckSight: watches the trees of a project, and calls with the paths of each burst of changes.

Where the kernel tells of changes it is asked to, for each directory that matters. The rest is looked at every second:
file systems of other machines and hosts, and everything where the kernel's limit of watches is reached.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from duck.services.ducksight.burst import Burst
from duck.services.ducksight.filter import look_into, reaches
from duck.services.ducksight.gathering import Gathering
from duck.services.ducksight.gitignore import NAME
from duck.services.ducksight.places import is_at_or_below, outermost
from duck.services.ducksight.polling import INTERVAL_S, Polling
from duck.services.ducksight.seen import What
from duck.services.mounts import Mounts

if TYPE_CHECKING:
    from duck.services.ducksight.filter import ChangeFilter
    from duck.services.ducksight.inotify import InotifyWatches
    from duck.services.ducksight.recursive import TreeWatches
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

# How long the inbox is kept from others while directories are looked into.
_STEP_S: Final = 0.005
_LOOK_S: Final = 0.02
_RETURN_S: Final = 1.0
# More at once is as if the system had lost them: all files are looked at.
_MAX_SEEN: Final = 50_000
_ASKS_FOR_EACH: Final = sys.platform.startswith("linux")


class DuckSight:
    """Calls `on_change` on the inbox's thread with the sorted paths of each burst. Its methods are for that thread.

    Args:
        roots: directories; what lies below is watched as `chosen` says.
        poll_s: look this often and never be told; 0 to be told only; None to look where nobody tells.
        mounts: what is mounted where; by default what the system says.

    Attributes:
        watching: set while every directory below the roots is watched.
    """

    def __init__(
        self,
        inbox: Inbox,
        roots: Sequence[str | os.PathLike[str]],
        chosen: ChangeFilter,
        on_change: Callable[[list[str]], None],
        *,
        burst: Burst | None = None,
        poll_s: float | None = None,
        mounts: Mounts | None = None,
    ) -> None:
        self._inbox = inbox
        self._poll_s = poll_s
        self._roots = [os.path.realpath(root) for root in roots]
        self._filter = chosen
        self._gathering = Gathering(inbox, Burst() if burst is None else burst, on_change)
        self._mounts = Mounts("") if poll_s is not None else mounts or Mounts.read()
        self._is_told = not poll_s  # of anything
        self._told: InotifyWatches | TreeWatches | None = None
        self._polling: Polling | None = None
        self._polled: dict[str, str] = {}  # directories whose trees are looked at, and why
        self._polls_for: tuple[ChangeFilter, list[str]] | None = None
        self._waiting: deque[tuple[str, bool]] = deque()  # directories to look into; whether what is there is news
        self._files: dict[str, set[str]] = {}  # by directory that is told of: names that matter
        self._seen: deque[tuple[What, str]] = deque()  # filled on the observers' threads
        self._is_posted = False
        self._return: Timer | None = None
        self._is_limit_told = False
        self._stopped = False
        self.watching = threading.Event()

    # -- what the App asks ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch; `watching` is set once every directory is."""
        self._watch_roots()

    def look_for(self, chosen: ChangeFilter, roots: Sequence[str]) -> None:
        """Watch below `roots`, as `chosen` says, from now on; what is watched and still matters goes on."""
        self._filter = chosen
        self._roots = [os.path.realpath(root) for root in roots]
        if self._stopped:
            return
        if self._is_told:
            self._polled.clear()
        for directory in [path for path in self._files if not self._is_reached(path)]:
            self._forget(directory)
        self._watch_roots()

    def stop(self) -> None:
        """Watch no more; what is under way is dropped."""
        self._stopped = True
        self._gathering.stop()
        if self._return is not None:
            self._return.cancel()
        told, self._told = self._told, None
        polling, self._polling = self._polling, None
        if told is not None:
            told.stop()
        if polling is not None:
            polling.stop()

    @property
    def directories(self) -> int:
        """How many directories are watched."""
        return len(self._files) + (len(self._polling) if self._polling is not None else 0)

    # -- what is watched ------------------------------------------------------------------------------------------

    def _watch_roots(self) -> None:
        self.watching.clear()
        self._waiting.extend((root, False) for root in (*self._roots, *self._filter.alone))
        self._step()

    def _step(self) -> None:
        """Look into some of the directories that wait, and leave the rest for the inbox's next turn."""
        if self._stopped:
            return
        end = time.monotonic() + _STEP_S
        while self._waiting:
            directory, is_news = self._waiting.popleft()
            try:
                self._watch(directory, is_news)
            except Exception:  # the others are watched
                logger.exception("Changes in %s cannot be looked for.", directory)
            if time.monotonic() > end:
                self._inbox.post(self._step)
                return
        self._poll()
        if self._polling is None or self._polling.ready.is_set():
            self.watching.set()
        elif not self.watching.is_set():
            self._inbox.call_later(_LOOK_S, self._step)

    def _watch(self, directory: str, is_news: bool) -> None:
        """Watch `directory`, where that is wanted; where it `is_news`, its files that matter have changed."""
        root = next((root for root in self._roots if is_at_or_below(directory, root)), None)
        is_alone = root is None and directory in self._filter.alone
        if root is None and not is_alone:
            return
        kind = self._mounts.silent(directory)
        if kind or not self._is_told:
            if not is_alone:  # its tree is not wanted
                self._polled[directory] = kind
            return
        is_root = is_alone or directory == root
        time_ns = _time_of(directory)
        found = look_into(directory, self._filter, is_root=is_root)
        if found is None or ((is_root or _ASKS_FOR_EACH) and not self._ask(directory)):
            if directory in self._files:
                self._forget(directory)
            if directory == root and not os.path.isdir(directory):
                self._await_return()
            return
        if is_news or _time_of(directory) != time_ns:
            # Something may have come after it was looked into and before it was watched.
            found = look_into(directory, self._filter, is_root=is_root) or found
        names, below = found
        before = self._files.get(directory, set())
        self._files[directory] = set(names)
        if is_news:
            for name in names:
                if name not in before:
                    self._gathering.changed(os.path.join(directory, name), whole=False)
        if not is_alone:
            self._waiting.extend((path, is_news and path not in self._files) for path in below)

    def _ask(self, directory: str) -> bool:
        """Have the system tell of `directory`; whether it will."""
        try:
            if self._told is None:
                self._told = self._make_observer()
            self._told.add(directory)
        except ImportError as error:  # a Python without ctypes, a system without inotify's functions
            self._look_instead(f"Nobody here tells of changes ({error})")
            return False
        except OSError as error:
            self._refused(directory, error)
            return False
        return True

    def _make_observer(self) -> InotifyWatches | TreeWatches:
        if _ASKS_FOR_EACH:
            from watchdog.utils import UnsupportedLibcError

            try:
                from duck.services.ducksight.inotify import InotifyWatches
            except UnsupportedLibcError as error:
                raise ImportError(str(error)) from error
            return InotifyWatches(self._tell)
        from duck.services.ducksight.recursive import TreeWatches

        return TreeWatches(self._tell)

    def _refused(self, directory: str, error: OSError) -> None:
        from duck.services.ducksight.limits import exhausted

        sentence = exhausted(error)
        if not sentence:
            if os.path.isdir(directory):
                logger.warning("%s cannot be watched: %s.", directory, error.strerror)
            return
        if self._poll_s == 0:
            if not self._is_limit_told:
                logger.warning(
                    "%s; changes in %s and more are not seen, since AUTO_RELOAD_POLL is 0.", sentence, directory
                )
            self._is_limit_told = True
            return
        self._look_instead(sentence)

    def _look_instead(self, why: str) -> None:
        logger.warning("%s; changes are looked for every %g s instead.", why, INTERVAL_S)
        # Others need what is left of the limit, and half a tree that is told of would not be cheaper.
        self._is_told = False
        told, self._told = self._told, None
        if told is not None:
            told.stop()
        self._files.clear()
        self._waiting.clear()
        self._polled = dict.fromkeys(self._roots, "")

    def _poll(self) -> None:
        """Have what nobody tells of be looked at."""
        roots = outermost(self._polled)
        if self._polling is None and roots:
            interval_s = self._poll_s or INTERVAL_S
            kinds = sorted({kind for kind in self._polled.values() if kind})
            if kinds:
                logger.info(
                    "The system does not tell of changes in %s (%s); they are looked for every %g s.",
                    ", ".join(path for path in roots if self._polled[path]),
                    ", ".join(kinds),
                    interval_s,
                )
            self._polling = Polling(self._tell, self._filter, roots, interval_s)
            self._polling.start()
        elif self._polling is not None and self._polls_for != (self._filter, roots):
            self._polling.look_for(self._filter, roots)
        self._polls_for = self._filter, roots

    def _is_reached(self, directory: str) -> bool:
        if directory in self._filter.alone:
            return True
        root = next((root for root in self._roots if is_at_or_below(directory, root)), None)
        return root is not None and reaches(directory, root, self._filter)

    def _forget(self, directory: str) -> None:
        """Watch `directory` and what lies below it no more."""
        if self._told is not None:
            self._told.remove(directory)
        for path in [path for path in self._files if is_at_or_below(path, directory)]:
            del self._files[path]

    def _await_return(self) -> None:
        """A root is gone: look for it until it is there again."""
        if self._return is None and not self._stopped:
            self._return = self._inbox.call_later(_RETURN_S, self._look_for_return)

    def _look_for_return(self) -> None:
        self._return = None
        self._waiting.extend((root, True) for root in self._roots if root not in self._files)
        self._step()  # which has them awaited again that are still gone

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _tell(self, what: What, path: str) -> None:
        """For the observers, on their threads. What is of no interest by its name does not wake the inbox."""
        if what.is_of_file and not (self._filter.wants(path) or os.path.basename(path) == NAME):
            return
        if len(self._seen) < _MAX_SEEN:
            self._seen.append((what, path))
        elif self._seen[-1][0] is not What.LOST:
            self._seen.append((What.LOST, ""))
        if not self._is_posted:
            self._is_posted = True
            self._inbox.post(self._look_at_seen)

    def _look_at_seen(self) -> None:
        self._is_posted = False  # before the first is taken: what comes from now on posts again
        while self._seen and not self._stopped:
            self._take(*self._seen.popleft())

    def _take(self, what: What, path: str) -> None:
        if what is What.LOST:
            self._look_at_all()
        elif what is What.DIRECTORY:
            self._waiting.append((path, True))
            self._step()
        elif what is What.DIRECTORY_GONE:
            self._directory_gone(path)
        elif os.path.basename(path) == NAME:
            if what is not What.TOUCHED:
                self.look_for(self._filter.anew(), self._roots)
        elif what is What.TOUCHED:
            self._gathering.touched(path)
        else:
            directory, name = os.path.split(path)
            names = self._files.get(directory)
            if names is not None:
                (names.discard if what is What.GONE else names.add)(name)
            elif self._polling is None:
                return  # in a directory that is ignored, told of with the tree that holds it
            self._gathering.changed(path, whole=what is What.WRITTEN)

    def _directory_gone(self, directory: str) -> None:
        gone = [path for path in self._files if is_at_or_below(path, directory)]
        files = [os.path.join(path, name) for path in gone for name in self._files[path]]
        if gone:
            self._forget(directory)
        for file in files:
            self._gathering.changed(file, whole=False)
        if directory in self._roots:
            self._await_return()

    def _look_at_all(self) -> None:
        """Events were lost: find out by the files' own times what has changed."""
        logger.info("More has changed at once than the system could tell of; all files are looked at.")
        known = {directory: set(names) for directory, names in self._files.items()}
        for directory in known:
            if not os.path.isdir(directory):
                self._forget(directory)
        self._waiting.extend((root, False) for root in self._roots)
        while self._waiting:
            self._watch(*self._waiting.popleft())
        for directory, names in self._files.items():
            for name in names:
                path = os.path.join(directory, name)
                if name not in known.get(directory, ()) or _changed_ns(path) >= self._gathering.since_ns:
                    self._gathering.changed(path, whole=False)
        for directory, names in known.items():
            for name in names - self._files.get(directory, set()):
                self._gathering.changed(os.path.join(directory, name), whole=False)


def _time_of(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def _changed_ns(path: str) -> int:
    try:
        found = os.stat(path)
    except OSError:
        return 0
    return max(found.st_ctime_ns, found.st_mtime_ns)
