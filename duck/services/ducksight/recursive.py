"""TreeWatches: whole trees that macOS (FSEvents) or Windows tells of, by watchdog's observers.

There a watch of a tree costs the same as one of a directory, so that ignored directories cost nothing but their events,
which the filter drops. No test of Duck's has run on these systems.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
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

from duck.services.ducksight.seen import Tell, What

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

_JOIN_S: Final = 2.0


class TreeWatches(FileSystemEventHandler):
    """Watches of whole trees. Methods are for one thread; `tell` is called on watchdog's."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._roots: set[str] = set()
        self._observer: BaseObserver = Observer()
        self._observer.start()

    def __len__(self) -> int:
        return len(self._roots)

    def add(self, root: str) -> None:
        """Watch all that lies below `root`.

        Raises:
            OSError: it cannot be.
        """
        if root not in self._roots:
            self._observer.schedule(self, root, recursive=True)
            self._roots.add(root)

    def remove(self, directory: str) -> None:
        """Forget `directory`: what is told of it is dropped by DuckSight, for its tree is watched as a whole."""

    def stop(self) -> None:
        """Watch no more."""
        # A change that comes meanwhile is an error to its thread, and a bare line on the user's terminal.
        logging.getLogger("watchdog").setLevel(logging.CRITICAL)
        self._observer.stop()
        self._observer.join(_JOIN_S)

    def dispatch(self, event: FileSystemEvent) -> None:
        """For watchdog, on its thread."""
        for what, path in seen(event):
            self._tell(what, path)


def seen(event: FileSystemEvent) -> list[tuple[What, str]]:
    """What `event` says, in Duck's own words; nothing of what was only read."""
    source, destination = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
    if isinstance(event, DirMovedEvent | FileMovedEvent):
        is_directory = isinstance(event, DirMovedEvent)
        left = (What.DIRECTORY_GONE if is_directory else What.GONE, source)
        came = (What.DIRECTORY if is_directory else What.WRITTEN, destination)
        return [one for one in (left, came) if one[1]]
    what = {
        DirCreatedEvent: What.DIRECTORY,
        DirDeletedEvent: What.DIRECTORY_GONE,
        FileAttribEvent: What.TOUCHED,
        FileClosedEvent: What.WRITTEN,
        FileCreatedEvent: What.WRITING,
        FileDeletedEvent: What.GONE,
        FileModifiedEvent: What.WRITING,
    }.get(type(event))
    return [(what, source)] if what is not None else []
