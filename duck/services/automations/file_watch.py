"""FileWatch: files that come to places which automations name; each version of one is an event, once it has settled.

    a change, or POLL_S has passed -> look at all places -> the same for SETTLE_S? -> seen before? -> an event

What the file system tells of changes only says when to look, so that one that tells nothing, a network's, is served as
well, later. Which versions were seen lies beside the events: a restart repeats nothing.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

    from duck.services.automations.event_spool import EventSpool

logger = logging.getLogger("duck.automations")

POLL_S: Final = 10.0
SETTLE_S: Final = 1.0
# Between two looks, whatever changes.
_REST_S: Final = 0.25
MOST_FILES: Final = 20_000
_SEEN: Final = "files"

# When it was changed (nanoseconds), how long it is, which one it is.
Stamp = tuple[int, int, int]


class Settling:
    """Which versions have been the same for a while. Pure."""

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        self._since: dict[str, tuple[Stamp, float]] = {}

    def look(self, found: Mapping[str, Stamp], now: float) -> tuple[dict[str, Stamp], bool]:
        """Those of `found` that have settled, and whether there are others that have not."""
        self._since = {
            path: self._since[path] if path in self._since and self._since[path][0] == stamp else (stamp, now)
            for path, stamp in found.items()
        }
        settled = {path: stamp for path, (stamp, since) in self._since.items() if now - since >= self._settle_s}
        return settled, len(settled) < len(found)


def place_of(pattern: str) -> tuple[str, bool]:
    """The directory in which all lies that matches, and whether some of it may lie deeper there."""
    parts = Path(pattern).parts
    plain = next((number for number, part in enumerate(parts[:-1]) if glob.has_magic(part)), len(parts) - 1)
    return os.path.join("", *parts[:plain]), plain < len(parts) - 1


class FileWatch:
    """Watches on a thread of its own, from `watch` to `stop`.

    Args:
        root: of relative places.
    """

    def __init__(self, spool: EventSpool, root: Path) -> None:
        self._spool = spool
        self._root = root
        self._patterns: tuple[str, ...] = ()
        self._settling: dict[str, Settling] = {}
        self._known: dict[str, dict[str, Stamp]] = {}  # seen, as the file says it
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, bool] = {}
        self._wake = threading.Event()
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def watch(self, patterns: Iterable[str]) -> None:
        """These places, and no others, from now on."""
        self._patterns = tuple(sorted(set(patterns)))
        self._wake.set()
        if self._thread is None and self._patterns:
            self._thread = threading.Thread(target=self._run, name="duck-files", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._is_stopped = True
        self._wake.set()

    # -- on its thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_stopped:
                self._wake.clear()
                unsettled = False
                try:
                    self._follow()
                except Exception as error:  # they are looked for all the same
                    self._say(f"Changes of files are not told of: {error}.")
                for pattern in self._patterns:
                    try:
                        unsettled |= self._look(pattern)
                    except Exception as error:  # of one place: the others are looked at, and it the next time
                        self._say(f"Files for {pattern} cannot be told of: {error}.")
                time.sleep(_REST_S)
                self._wake.wait(SETTLE_S if unsettled else POLL_S)
        finally:
            if self._observer is not None:
                self._observer.stop()

    def _look(self, pattern: str) -> bool:
        """Tell of what is new there; whether there is what has not settled."""
        found = dict(self._files(pattern))
        settled, unsettled = self._settling.setdefault(pattern, Settling()).look(found, time.monotonic())
        known = self._known.get(pattern, {})
        if any(known.get(path) != stamp for path, stamp in settled.items()):
            self._tell(pattern, settled, found)
        return unsettled

    def _tell(self, pattern: str, settled: Mapping[str, Stamp], found: Mapping[str, Stamp]) -> None:
        with self._locked():
            seen = self._read_seen()
            known = seen.get(pattern, {})
            try:
                for path, stamp in settled.items():
                    if known.get(path) != stamp:
                        told = {"path": path, "size": stamp[1], "modified": _moment(stamp[0])}
                        self._spool.put("file", {"path": pattern}, told)
                        known[path] = stamp
            finally:
                # Where there is no room for more, what was told of is not told of again.
                seen[pattern] = {path: stamp for path, stamp in known.items() if path in found}
                self._write_seen(seen)
        self._known = seen

    def _files(self, pattern: str) -> Iterator[tuple[str, Stamp]]:
        count = 0
        for name in glob.iglob(pattern, root_dir=self._root, recursive=True):
            path = os.path.join(self._root, name)
            with contextlib.suppress(OSError):
                found = os.stat(path)
                if stat.S_ISREG(found.st_mode):
                    count += 1
                    if count > MOST_FILES:
                        self._say(f"More than {MOST_FILES} files lie in {pattern}; those beyond them are left out.")
                        return
                    yield path, (found.st_mtime_ns, found.st_size, found.st_ino)

    def _follow(self) -> None:
        """Have the file system tell of changes where it can."""
        places: dict[Path, bool] = {}
        for pattern in self._patterns:
            name, is_deep = place_of(pattern)
            place = self._root / name
            if place.is_dir():
                places[place] = is_deep or places.get(place, False)
        if places == self._watched:
            return
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
        self._watched = places
        if not places:
            return
        # Nobody else pays for it.
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        wake = self._wake

        class Wakes(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type not in ("opened", "closed_no_write"):  # as each look does
                    wake.set()

        observer = Observer()
        try:
            for place, is_deep in places.items():
                observer.schedule(Wakes(), str(place), recursive=is_deep)
            observer.start()
        except OSError as error:
            self._say(f"Changes of files are not told of ({error.strerror}); they are looked for each {POLL_S:g} s.")
            return
        self._observer = observer

    # -- what was seen --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """No other node of this machine tells of files meanwhile.

        Raises:
            OSError: one does; it is tried again.
        """
        self._spool.make()
        deadline = time.monotonic() + POLL_S
        while (lock := self._spool.lock(f"{_SEEN}.lock")) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another node has held the lock in {self._spool.directory} for {POLL_S:g} s")
            time.sleep(0.05)
        try:
            yield
        finally:
            os.close(lock)

    def _read_seen(self) -> dict[str, dict[str, Stamp]]:
        try:
            said: Any = json.loads((self._spool.directory / _SEEN).read_bytes())
            return {
                pattern: {path: (int(stamp[0]), int(stamp[1]), int(stamp[2])) for path, stamp in files.items()}
                for pattern, files in said.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError, IndexError):
            self._say(f"{self._spool.directory / _SEEN} is broken; files that were seen are told of again.")
            return {}

    def _write_seen(self, seen: Mapping[str, Mapping[str, Stamp]]) -> None:
        kept = {pattern: files for pattern, files in seen.items() if pattern in self._patterns}
        path = self._spool.directory / _SEEN
        beside = path.with_name(f"{_SEEN}-{os.getpid()}.part")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            json.dump(kept, file)
        beside.replace(path)

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            logger.error("%s", sentence)


def _moment(nanoseconds: int) -> str | None:
    """In ISO 8601; None for what no calendar has, for whoever brings a file sets its time."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
