"""Events for automations, as files in a directory: written here and elsewhere, taken by a node (`EventSpool`).

    put   write a file under another name -> rename: a node sees whole ones alone
    take  in the order of their names, which begin with the time

Standard library only: processes of the project's interpreter write them, too.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import Any, Dict, List, Optional

SUFFIX = ".json"
UNFINISHED = ".part"
# What waits is bounded: as long as no node takes it, at most so much is kept.
MOST_EVENTS = 1000
MAX_EVENT_BYTES = 2 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
# What nodes wait for (see `wanted`), by the nodes.
WANTED = "wanted"
_count = itertools.count()


class EventsWait(OSError):
    """No more events are kept: no node has taken those that wait."""


def put(directory: str, event: str, details: Dict[str, str], told: Dict[str, Any], *, is_durable: bool = False) -> str:
    """Keep an event for the nodes of this project; its id.

    Args:
        details: what declarations compare with theirs.
        told: plain values for `Context.event`.
        is_durable: it is on the disk when this returns, whatever becomes of the machine.

    Raises:
        OSError: it cannot be kept; nothing is left of it. `EventsWait` where too many wait, or it is too long.
    """
    data = json.dumps({"event": event, "details": details, "told": told}).encode()
    if len(data) > MAX_EVENT_BYTES:
        raise EventsWait(f"an event of {len(data)} bytes is too long; {MAX_EVENT_BYTES} are kept")
    _check_room(directory, len(data))
    name = f"{time.time_ns():020d}-{os.getpid()}-{next(_count)}"
    path = os.path.join(directory, name)
    try:
        descriptor = os.open(path + UNFINISHED, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            if is_durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(path + UNFINISHED, path + SUFFIX)
        if is_durable and os.name != "nt":
            _sync(directory)
    except OSError:
        try:
            os.unlink(path + UNFINISHED)
        except OSError:
            pass
        raise
    return name


def _check_room(directory: str, adds: int) -> None:
    """Whether so many bytes more may wait there; a file that a writer has not finished counts as well."""
    with os.scandir(directory) as entries:
        waiting = [entry for entry in entries if entry.name.endswith((SUFFIX, UNFINISHED))]
        if len(waiting) >= MOST_EVENTS:
            raise EventsWait(f"{MOST_EVENTS} events wait in {directory}, and no node takes them")
        if (len(waiting) + 1) * MAX_EVENT_BYTES <= MOST_BYTES:
            return
        size = 0
        for entry in waiting:
            try:
                size += entry.stat().st_size
            except OSError:
                pass  # a node has taken it
    if size + adds > MOST_BYTES:
        raise EventsWait(f"{size >> 20} MiB of events wait in {directory}, and no node takes them")


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Wanted:
    """What nodes wait for, read from a file that they write; looked at anew when it has changed.

    Attributes:
        events: the last that was read: tables with `event` and what goes with it.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, WANTED)
        self._seen: Optional[tuple[int, int, int]] = None
        self.events: List[Dict[str, Any]] = []

    def look(self) -> bool:
        """Whether it is another than before; a `stat` where it is not."""
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return False
            with open(self._path, "rb") as file:
                events = json.loads(file.read())
        except OSError:
            if self._seen is None:
                return False
            self._seen, self.events = None, []
            return True
        except ValueError:
            return False  # none of ours
        self._seen = seen
        self.events = [each for each in events if isinstance(each, dict)] if isinstance(events, list) else []
        return True
