"""InotifyWatches: directories that Linux tells of (inotify(7)), read by watchdog.

watchdog's observer starts a thread for each directory that is scheduled alone, and watches all that lies below one that
is scheduled with its tree. What it stands on, one thread that reads one instance of inotify, is used here directly, and
each directory that matters costs one watch of the kernel's and nothing else.

A rename is two events here, which is enough: the new name was written, the old one is gone. Writing itself is not asked
for: what matters is told when the file is closed, and a database in the project would wake the thread at each write.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, Final

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask

from duck.services.ducksight.places import is_at_or_below
from duck.services.ducksight.seen import Tell, What

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

_MASK: Final = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_SELF: Final = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF
_LEFT: Final = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_CAME: Final = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_WHOLE: Final = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_CALLBACK: Final = CallbackId(0)
_JOIN_S: Final = 2.0


class InotifyWatches:
    """One instance of inotify. Methods are for one thread; `tell` is called on watchdog's.

    Raises:
        OSError: with ENOSYS, EMFILE: the system gives no instance (fs.inotify.max_user_instances).
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._paths: dict[WatchDescriptor, str] = {}  # read on watchdog's thread, written on the other
        self._watches: dict[str, tuple[WatchDescriptor, tuple[int, int]]] = {}  # so are these
        self._numbers: dict[tuple[int, int], str] = {}  # by device and inode, for a directory may have two names
        # Overflows are dealt with, and a line of watchdog's says nothing to a user.
        logging.getLogger("watchdog").setLevel(logging.CRITICAL)
        self._reader = InotifyFD()
        descriptor = getattr(self._reader, "_inotify_fd", -1)
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)  # not for the Duck that this process becomes
        self._reader.start()

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, directory: str) -> bool:
        return directory in self._watches

    def add(self, directory: str) -> None:
        """Watch `directory`, and nothing below it.

        Raises:
            OSError: it cannot be; ENOSPC: no more watches are to be had (fs.inotify.max_user_watches).
        """
        if directory in self._watches:
            return
        if not os.access(directory, os.R_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), directory)  # of which watchdog says nothing
        found = os.stat(directory)
        number = found.st_dev, found.st_ino
        if number in self._numbers:
            self._drop([self._numbers[number]])
        watch = self._reader.add_callback(os.fsencode(directory), _MASK, self, _CALLBACK)
        self._numbers[number] = directory
        self._paths[watch] = directory
        self._watches[directory] = watch, number

    def remove(self, directory: str) -> None:
        """Forget `directory` and those below it."""
        self._drop([path for path in self._watches if is_at_or_below(path, directory)])

    def _drop(self, directories: list[str]) -> None:
        watches = [self._watches.pop(path) for path in directories]
        for watch, number in watches:
            self._paths.pop(watch, None)
            self._numbers.pop(number, None)
        self._reader.remove_callbacks([(watch, _CALLBACK) for watch, _ in watches])

    def stop(self) -> None:
        """Give all watches back."""
        self._reader.stop()
        self._reader.join(_JOIN_S)
        self._paths.clear()
        self._watches.clear()

    # -- for watchdog, on its thread ------------------------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        """Something of a watched directory, or in it."""
        directory = self._paths.get(event.wd)
        if directory is None:
            return  # forgotten meanwhile
        mask = event.mask
        if mask & _SELF:
            self._tell(What.DIRECTORY_GONE, directory)
            return
        if not event.name:
            return  # its own time
        path = os.path.join(directory, os.fsdecode(event.name))
        if mask & InotifyConstants.IN_ISDIR:
            if mask & _LEFT:
                self._tell(What.DIRECTORY_GONE, path)
            elif mask & _CAME or path not in self._watches:
                self._tell(What.DIRECTORY, path)  # or one that may be read now
        elif mask & _WHOLE:
            self._tell(What.WRITTEN, path)
        elif mask & _LEFT:
            self._tell(What.GONE, path)
        elif mask & InotifyConstants.IN_CREATE:
            self._tell(What.WRITING, path)
        elif mask & InotifyConstants.IN_ATTRIB:
            self._tell(What.TOUCHED, path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The kernel has dropped a watch: its directory is gone, which was told before."""

    def on_queue_overflow(self) -> None:
        """The kernel has dropped events."""
        self._tell(What.LOST, "")
