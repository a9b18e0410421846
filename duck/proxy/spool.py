"""Request bodies that are not kept in memory: files of the owner's alone, bounded in all, gone with their request."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from duck.exceptions import DuckError

PREFIX: Final = "duck-body-"


class SpoolFull(DuckError):
    """There is no room for a body: the spool's bound is reached, or its disk is full."""


class Spool:
    """Where bodies go that are larger than a request should hold in memory.

    One per worker; its files are on a disk, not in a run directory, which often lies in memory.

    Attributes:
        used: bytes in files now.
    """

    def __init__(self, directory: str | None, max_bytes: int) -> None:
        self._parent = directory
        self._directory: Path | None = None
        self._max_bytes = max_bytes
        self.used = 0

    def create(self) -> SpooledBody:
        """A new, empty file.

        Raises:
            SpoolFull: none can be made.
        """
        try:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="duck-spool-", dir=self._parent))  # mode 0700
            descriptor, path = tempfile.mkstemp(prefix=PREFIX, dir=self._directory)  # mode 0600
        except OSError as error:
            raise SpoolFull(
                f"no file for a request's body can be made in {self._parent or tempfile.gettempdir()}: "
                f"{error.strerror}; set SPOOL_DIR to a directory with room"
            ) from error
        return SpooledBody(self, descriptor, path)

    def take(self, size: int) -> None:
        """Count `size` more bytes.

        Raises:
            SpoolFull: they would be too many.
        """
        if self.used + size > self._max_bytes:
            raise SpoolFull(
                f"the bodies of all requests under way would need more than {self._max_bytes} bytes; "
                "raise MAX_SPOOL_BYTES or try again later"
            )
        self.used += size

    def close(self) -> None:
        """Remove the directory; files still in use go with their requests."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._directory.rmdir()
            self._directory = None


class SpooledBody:
    """One request's body in a file.

    Attributes:
        path: readable by this user alone; it disappears with `close`.
        size: bytes written.
    """

    __slots__ = ("_descriptor", "_spool", "path", "size")

    def __init__(self, spool: Spool, descriptor: int, path: str) -> None:
        self._spool = spool
        self._descriptor = descriptor
        self.path = path
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            SpoolFull: the bound is reached or the disk is full.
        """
        self._spool.take(len(data))
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            why = "its disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
            raise SpoolFull(f"a request's body cannot be written to {self.path}: {why}") from error

    def close(self) -> None:
        """Remove the file; may be said again."""
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        self._spool.used -= self.size
        with contextlib.suppress(OSError):
            os.unlink(self.path)
