"""What is not kept in memory: long request bodies, and answers that their clients take slowly.

Files of the owner's alone, bounded in all, gone with their exchange.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from duck.exceptions import DuckError
from duck.proxy.leftovers import hold, sweep

PREFIX: Final = "duck-body-"
DIRECTORY_PREFIX: Final = "duck-spool-"
# What is read from a file at once: the loop serves others in between.
PIECE_BYTES: Final = 262_144
# Of the spool, answers take one part in so many: clients that read slowly must not keep others from sending bodies.
ANSWERS_SHARE: Final = 2


class SpoolFull(DuckError):
    """There is no room: the spool's bound is reached, or its disk is full."""


class Spool:
    """Where bodies go that are larger than an exchange should hold in memory.

    One per worker, for its loop's thread; its files are on a disk, not in a run directory, which often lies in memory.

    Args:
        max_answer_bytes: of one answer; 0 for none.

    Attributes:
        used: bytes in files now, those of answers included.
        used_by_answers: of these, the bytes of answers.
    """

    def __init__(self, directory: str | None, max_bytes: int, max_answer_bytes: int = 0) -> None:
        self._parent = directory
        self._directory: Path | None = None
        self._held = -1  # what holds the directory
        self._max_bytes = max_bytes
        self._max_answer_bytes = max_answer_bytes
        self.used = 0
        self.used_by_answers = 0

    def create(self, *, named: bool = False) -> SpoolFile:
        """A new, empty file for a request's body; `named` where another process is to read it.

        Raises:
            SpoolFull: none can be made.
        """
        return self._create(named=named, is_answer=False)

    def overflow(self) -> Overflow | None:
        """Room for an answer that its client takes slowly; None where there is none."""
        if self._max_answer_bytes == 0 or self.used_by_answers >= self._max_bytes // ANSWERS_SHARE:
            return None
        try:
            return Overflow(self._create(named=False, is_answer=True), self._max_answer_bytes)
        except SpoolFull:
            return None

    def _create(self, *, named: bool, is_answer: bool) -> SpoolFile:
        path = ""
        try:
            # Whatever cleans directories for temporary files may have found it old and empty.
            if self._directory is None or not self._directory.is_dir():
                self._let_go()
                self._directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=self._parent))  # mode 0700
                self._held = hold(str(self._directory))
                self.sweep()
            if named:
                descriptor, path = tempfile.mkstemp(prefix=PREFIX, dir=self._directory)  # mode 0600
            else:
                # Without a name it goes with this process, however that ends.
                with tempfile.TemporaryFile(prefix=PREFIX, dir=self._directory, buffering=0) as file:
                    descriptor = os.dup(file.fileno())
        except OSError as error:
            raise SpoolFull(
                f"no file for a request's body can be made in {self.where}: "
                f"{error.strerror}; set SPOOL_DIR to a directory with room"
            ) from error
        return SpoolFile(self, descriptor, path, is_answer=is_answer)

    @property
    def where(self) -> str:
        """The directory that SPOOL_DIR names, or the system's."""
        return self._parent or tempfile.gettempdir()

    def take(self, size: int, *, is_answer: bool = False) -> None:
        """Count `size` more bytes.

        Raises:
            SpoolFull: they would be too many.
        """
        if self.used + size > self._max_bytes or (
            is_answer and self.used_by_answers + size > self._max_bytes // ANSWERS_SHARE
        ):
            raise SpoolFull(
                f"the bodies of all requests under way would need more than {self._max_bytes} bytes; "
                "raise MAX_SPOOL_BYTES or try again later"
            )
        self.used += size
        if is_answer:
            self.used_by_answers += size

    def give_back(self, size: int, *, is_answer: bool = False) -> None:
        """Count `size` bytes no more."""
        self.used -= size
        if is_answer:
            self.used_by_answers -= size

    def sweep(self) -> int:
        """Remove what processes that were killed have left; tells how many directories that were."""
        return sweep(self.where, DIRECTORY_PREFIX, PREFIX)

    def close(self) -> None:
        """Remove the directory; files still in use go with their requests."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._directory.rmdir()
            self._directory = None
        self._let_go()

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


class SpoolFile:
    """Bytes in a file: appended by `write`, and given once and in order by `read`.

    Attributes:
        path: readable by this user alone; it disappears with `close`. Empty for a file without a name.
        size: bytes written.
    """

    __slots__ = ("_at", "_descriptor", "_is_answer", "_spool", "path", "size")

    def __init__(self, spool: Spool, descriptor: int, path: str, *, is_answer: bool) -> None:
        self._spool = spool
        self._descriptor = descriptor
        self._is_answer = is_answer
        self._at = 0
        self.path = path
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`, or nothing of it.

        Raises:
            SpoolFull: the bound is reached or the disk is full.
        """
        self._spool.take(len(data), is_answer=self._is_answer)
        view = memoryview(data)
        try:
            # `read` moves the same offset; Windows has no pwrite.
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._spool.give_back(len(data), is_answer=self._is_answer)
            why = "its disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
            raise SpoolFull(f"a request's body cannot be written to {self._spool.where}: {why}") from error
        self.size += len(data)

    def read(self, limit: int = PIECE_BYTES) -> bytes:
        """The next bytes, at most `limit`; `b""` where all that was written has been read.

        Raises:
            OSError: the disk failed.
        """
        count = min(limit, self.size - self._at)
        if count <= 0:
            return b""
        os.lseek(self._descriptor, self._at, os.SEEK_SET)
        data = os.read(self._descriptor, count)
        if not data:
            raise OSError(errno.EIO, "a file of the spool became shorter")
        self._at += len(data)
        return data

    def close(self) -> None:
        """Remove the file; may be said again."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):  # what a disk tells of its failures at the end is of no interest any more
            os.close(descriptor)
        self._spool.give_back(self.size, is_answer=self._is_answer)
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


class Overflow:
    """What a client has yet to take of its answer, in order: in a file, and behind it what found no room there."""

    __slots__ = ("_file", "_max_bytes", "_rest")

    def __init__(self, file: SpoolFile, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._rest: list[bytes] = []

    def put(self, data: bytes) -> bool:
        """Keep `data`; False where no more should come before all has been taken."""
        if not self._rest:
            try:
                self._file.write(data)
            except SpoolFull:
                pass
            else:
                return self._file.size < self._max_bytes
        # No more than one read of the link: what gives the bytes is paused from now on.
        self._rest.append(data)
        return False

    def take(self) -> bytes:
        """The next bytes; `b""` where nothing is left.

        Raises:
            OSError: the disk failed.
        """
        data = self._file.read()
        if not data and self._rest:
            data = b"".join(self._rest)
            self._rest.clear()
        return data

    def close(self) -> None:
        """Remove the file; may be said again."""
        self._file.close()
        self._rest.clear()
