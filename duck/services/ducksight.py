"""DuckSight: which file changes matter, when they are over, and whether what was written can be run at all.

    watchdog (a thread)  ->  ChangeFilter (pure)  ->  Burst (pure, on the inbox)  ->  one call with the changed paths

`RecoveryWatch` is for a project that failed to start: it looks at the files named in the failure, wherever they lie.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

QUIET_S: Final = 0.15
# A change that never ends (a build that writes on and on) is acted upon after so long.
LONGEST_BURST_S: Final = 2.0
RECOVERY_POLL_S: Final = 0.3
MAX_DIRECTORIES: Final = 2000

IGNORED_DIRECTORIES: Final = frozenset(
    {
        "__pycache__",
        "__pypackages__",
        "node_modules",
        "bower_components",
        "site-packages",
        "htmlcov",
    }
)
# A directory that holds one of these is an environment: virtualenv, conda.
_ENVIRONMENT_MARKS: Final = frozenset({"pyvenv.cfg", "conda-meta"})


class ChangeFilter:
    """Decides by names alone which directories are looked into and which files matter.

    Args:
        patterns: of file names (`AUTO_RELOAD_WATCH_FILES`).
        ignored: directories (absolute paths) whose content never matters, such as static, media and state roots.
    """

    def __init__(self, patterns: Sequence[str] = ("*.py",), ignored: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._patterns = tuple(patterns)
        self._ignored = frozenset(os.path.normpath(path) for path in ignored)

    def wants(self, path: str) -> bool:
        """Whether a change of the file at `path` matters."""
        name = os.path.basename(path)
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)

    def enters(self, path: str, entries: Iterable[str]) -> bool:
        """Whether the directory at `path`, which holds `entries`, is watched."""
        name = os.path.basename(path)
        if name.startswith(".") or name in IGNORED_DIRECTORIES or os.path.normpath(path) in self._ignored:
            return False
        return _ENVIRONMENT_MARKS.isdisjoint(entries)

    def changed(self, event: FileSystemEvent) -> str | None:
        """The path that `event` changed, or None where it does not matter.

        Editors write a temporary file and rename it: then the new name counts, or the old one when the file went away.
        """
        if isinstance(event, FileMovedEvent):
            for path in (event.dest_path, event.src_path):
                if self.wants(os.fsdecode(path)):
                    return os.fsdecode(path)
            return None
        if isinstance(event, FileCreatedEvent | FileModifiedEvent | FileDeletedEvent | FileClosedEvent):
            path = os.fsdecode(event.src_path)
            return path if self.wants(path) else None
        return None


class Burst:
    """Gathers changes until nothing has come for a while: a checkout of a branch is one change.

    Times are of any one clock, in seconds.
    """

    __slots__ = ("_first", "_last", "_paths", "longest_s", "quiet_s")

    def __init__(self, quiet_s: float = QUIET_S, longest_s: float = LONGEST_BURST_S) -> None:
        self.quiet_s = quiet_s
        self.longest_s = longest_s
        self._paths: set[str] = set()
        self._first = 0.0
        self._last = 0.0

    def add(self, path: str, now: float) -> None:
        """`path` changed."""
        if not self._paths:
            self._first = now
        self._last = now
        self._paths.add(path)

    def wait_s(self, now: float) -> float | None:
        """Seconds until the burst is over, 0 when it is; None while there is none."""
        if not self._paths:
            return None
        return max(0.0, min(self._last + self.quiet_s, self._first + self.longest_s) - now)

    def take(self) -> list[str]:
        """What changed, sorted; the next change begins a new burst."""
        paths, self._paths = self._paths, set()
        return sorted(paths)


def walk(root: str, chosen: ChangeFilter) -> Iterator[str]:
    """`root` and the directories below it that are watched; symbolic links are not followed."""
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as scan:
                entries = list(scan)
        except OSError:
            continue
        if directory != root and not chosen.enters(directory, [entry.name for entry in entries]):
            continue
        yield directory
        waiting.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))


class DuckSight(FileSystemEventHandler):
    """Watches directories and calls `on_change` on the inbox's thread with the paths of each burst.

    Directories are scheduled one by one, so that nothing of an ignored one (a virtualenv, node_modules) costs a watch;
    new directories are picked up as they appear. The scheduling, about 1.6 ms a directory, is done on a thread.

    Args:
        roots: directories; what lies below is watched as `chosen` says.
        poll_s: look this often instead of being told, for file systems that tell of nothing; 0 to be told.
    """

    def __init__(
        self,
        inbox: Inbox,
        roots: Sequence[str | os.PathLike[str]],
        chosen: ChangeFilter,
        on_change: Callable[[list[str]], None],
        *,
        burst: Burst | None = None,
        poll_s: float = 0.0,
    ) -> None:
        self._inbox = inbox
        self._poll_s = poll_s
        self._roots = [os.path.realpath(root) for root in roots]
        self._filter = chosen
        self._on_change = on_change
        self._burst = Burst() if burst is None else burst
        self._observer: BaseObserver | None = None
        self._watched: set[str] = set()
        self._times: dict[str, int] = {}  # of the files that matter, when they were modified last
        self._lock = threading.Lock()
        self._timer: Timer | None = None
        self._stopped = False
        self.watching = threading.Event()

    def start(self) -> None:
        """Begin to watch; `watching` is set once every directory is."""
        threading.Thread(target=self._start, name="duck-sight", daemon=True).start()

    def stop(self) -> None:
        """Watch no more; what is under way is dropped. For the inbox's thread."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            observer, self._observer = self._observer, None
        if observer is not None:
            # A change that comes meanwhile is an error to its thread, and a bare line on the user's terminal.
            logging.getLogger("watchdog").setLevel(logging.CRITICAL)
            observer.stop()
            observer.join(2.0)

    @property
    def directories(self) -> int:
        """How many directories are watched."""
        return len(self._watched)

    def dispatch(self, event: FileSystemEvent) -> None:
        """For watchdog, on its thread."""
        if isinstance(event, DirCreatedEvent | DirMovedEvent):
            # What was written into a new directory before it was watched has no event of its own.
            directory = os.fsdecode(event.dest_path if isinstance(event, DirMovedEvent) else event.src_path)
            if directory:
                self._inbox.post(lambda: self._new_directory(directory))
            return
        if isinstance(event, FileAttribEvent):
            touched = os.fsdecode(event.src_path)
            if self._filter.wants(touched):
                self._inbox.post(lambda: self._touched(touched))
            return
        path = self._filter.changed(event)
        if path is not None:
            self._inbox.post(lambda: self._changed(path))

    def _start(self) -> None:
        observer = PollingObserver(timeout=self._poll_s) if self._poll_s else Observer()
        with self._lock:
            if self._stopped:
                return
            self._observer = observer
            observer.start()
        for root in self._roots:
            self._schedule_below(root)
        self.watching.set()

    def _schedule_below(self, root: str) -> list[str]:
        added: list[str] = []
        for directory in walk(root, self._filter):
            with self._lock:
                if self._observer is None or directory in self._watched:
                    continue
                if len(self._watched) >= MAX_DIRECTORIES:
                    logger.warning(
                        "More than %s directories below %s; changes in the rest are not seen.", MAX_DIRECTORIES, root
                    )
                    return added
                try:
                    self._observer.schedule(self, directory, recursive=False)
                except OSError as error:
                    if os.path.isdir(directory):
                        logger.warning("%s cannot be watched: %s", directory, error)
                    continue
                self._watched.add(directory)
            self._note_times(directory)
            added.append(directory)
        return added

    def _note_times(self, directory: str) -> None:
        try:
            names = os.listdir(directory)
        except OSError:
            return
        for name in names:
            if self._filter.wants(name):
                self._note_time(os.path.join(directory, name))

    def _note_time(self, path: str) -> bool:
        """Whether the file at `path` has another time than was known."""
        try:
            time_ns = os.stat(path).st_mtime_ns
        except OSError:
            return False  # gone meanwhile, or a link that leads nowhere
        known, self._times[path] = self._times.get(path), time_ns
        return known != time_ns

    def _new_directory(self, directory: str) -> None:
        try:
            entries = os.listdir(directory)
        except OSError:
            return
        if self._stopped or not self._filter.enters(directory, entries):
            return
        with self._lock:
            # A directory of that name may have been watched and removed before.
            self._watched = {path for path in self._watched if not _is_at_or_below(path, directory)}
        for found in self._schedule_below(directory):
            try:
                names = os.listdir(found)
            except OSError:
                continue
            for name in names:
                path = os.path.join(found, name)
                if self._filter.wants(path):
                    self._changed(path)

    def _touched(self, path: str) -> None:
        """Something of the file was set: a new time is a change, as it is for Django; a mode or an owner is none."""
        if self._note_time(path):
            self._changed(path)

    def _changed(self, path: str) -> None:
        if self._stopped:
            return
        self._note_time(path)
        self._burst.add(path, time.monotonic())
        if self._timer is None:
            self._wait()

    def _wait(self) -> None:
        self._timer = None
        wait_s = self._burst.wait_s(time.monotonic())
        if wait_s is None or self._stopped:
            return
        if wait_s > 0:
            self._timer = self._inbox.call_later(wait_s, self._wait)
            return
        self._on_change(self._burst.take())


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
            self._timer = self._inbox.call_later(RECOVERY_POLL_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = {path: signature(path) for path in self._before}
        changed = [path for path, before in self._before.items() if now[path] != before]
        if changed:
            self._timer = None
            self._before = now
            self._on_change(changed)
        else:
            self._timer = self._inbox.call_later(RECOVERY_POLL_S, self._look)


def syntax_error(path: str) -> SyntaxError | None:
    """Why the Python file at `path` cannot be compiled; None when it can, or is not there (any more)."""
    try:
        source = Path(path).read_bytes()
    except OSError:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    except ValueError as error:  # a NUL byte, before Python 3.12
        return SyntaxError(str(error), (path, 1, 1, ""))
    return None


def signature(path: str) -> tuple[int, int, int] | None:
    """What differs once the file or directory at `path` has been written; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + os.sep)
