"""The SQLite file that the engine of one machine keeps: how it is opened, changed and read, and what its rows mean.

Every change is one transaction that begins by taking the write lock (`BEGIN IMMEDIATE`), so that two nodes never decide
on the same counts; and a commit is on the disk before it is acted on (`synchronous=FULL`), so that no power cut makes a
run start twice. SQLite's locks, and the memory that its write-ahead log shares, do not reach over network shares: there
the file is refused. One that was deleted or replaced under who has it open is refused as well: others would have
another store meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from duck.exceptions import StoreError
from duck.services.automations.engines.local_rows import SCHEMA
from duck.services.mounts import Mounts

# How long a node waits for another's transaction; these last milliseconds.
_BUSY_S: Final = 10.0
_MOVE: Final = (
    "stop Duck, move the file away with its -wal and -shm, and start Duck again: what it kept is forgotten then, and"
    " times count from that moment on"
)
# What to do about an error, by its code.
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "see to its disk",
    sqlite3.SQLITE_READONLY: "let Duck write it, and its directory",
    sqlite3.SQLITE_CORRUPT: _MOVE,
    sqlite3.SQLITE_NOTADB: _MOVE,
}


class SqliteFile:
    """The file at `path`, which is made for its owner alone.

    Args:
        mounts: what is mounted where; by default what the system says.

    Raises:
        StoreError: it lies on a network share, cannot be opened, or was made by a newer Duck.
    """

    def __init__(self, path: Path, mounts: Mounts | None = None) -> None:
        self.path = path
        kind = (mounts or Mounts.read()).shared(os.path.realpath(path))
        if kind:
            raise StoreError(
                f"The store of automations at {path} lies on a network share ({kind}), where SQLite's locks do not hold"
                " and runs could start twice; give a directory of this machine with --state-dir."
            )
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
            self.db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._opened = _identity(path)
            self.db.row_factory = sqlite3.Row
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            why, what = error.strerror if isinstance(error, OSError) else str(error), _remedy(error) or "see to it"
            raise StoreError(
                f"The store of automations at {path} cannot be opened: {why}; {what}, or give another directory with"
                " --state-dir."
            ) from error

    def close(self) -> None:
        """Give it back."""
        self.db.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which no other node's comes between.

        Raises:
            StoreError: it is refused; nothing was changed.
        """
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                self._check()
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                # SQLite may have undone it by itself; a commit that failed, as on a full disk, is still to be.
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._error("refuses", error) from error

    @property
    def is_there(self) -> bool:
        """Whether the file is still that which was opened."""
        return _identity(self.path) == self._opened

    def _check(self) -> None:
        if not self.is_there:
            raise StoreError(
                f"The store of automations at {self.path} was deleted or replaced while it was in use: nothing is"
                " planned or started until `duck reload`, which takes what lies there now, or a new file, and"
                " plans from then on."
            )

    def read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a statement that changes nothing.

        Raises:
            StoreError: it cannot be read.
        """
        self._check()
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                return self.db.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                # A reader meets a lock only while another node recovers the write-ahead log.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._error("cannot be read", error) from error
                time.sleep(0.01)
            except sqlite3.Error as error:
                raise self._error("cannot be read", error) from error

    def _error(self, what: str, error: sqlite3.Error) -> StoreError:
        remedy = _remedy(error)
        return StoreError(f"The store of automations at {self.path} {what}: {error}{remedy and f'; {remedy}'}.")

    def _migrate(self) -> None:
        with self.change():
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version > len(SCHEMA):
                raise StoreError(
                    f"The store of automations at {self.path} was made by a newer Duck; start that one, or move the"
                    " file away."
                )
            for step, statements in enumerate(SCHEMA[version:], version + 1):
                for statement in statements.split(";"):
                    self.db.execute(statement)
                self.db.execute(f"PRAGMA user_version={step}")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of its name; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remedy(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    return _REMEDIES.get(code & 0xFF, "") if code is not None else ""
