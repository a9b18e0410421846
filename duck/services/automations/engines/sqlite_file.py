"""The SQLite file that the engine of one machine keeps: how it is opened, changed and read, and what its rows mean.

Every change is one transaction that begins by taking the write lock (`BEGIN IMMEDIATE`), so that two nodes never decide
on the same counts; and a commit is on the disk before it is acted on (`synchronous=FULL`), so that no power cut makes a
run start twice. SQLite's locks, and the memory that its write-ahead log shares, do not reach over network shares: there
the file is refused.
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
            self.db.row_factory = sqlite3.Row
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise StoreError(
                f"The store of automations at {path} cannot be opened: {why}; see to it, or give another directory with"
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
                yield self.db
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"The store of automations at {self.path} refuses: {error}.") from error

    def read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a statement that changes nothing.

        Raises:
            StoreError: it cannot be read.
        """
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                return self.db.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                # A reader meets a lock only while another node recovers the write-ahead log.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise StoreError(f"The store of automations at {self.path} cannot be read: {error}.") from error
                time.sleep(0.01)
            except sqlite3.Error as error:
                raise StoreError(f"The store of automations at {self.path} cannot be read: {error}.") from error

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
