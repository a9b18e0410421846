"""The engine of one machine: a SQLite file, with nothing to install. All nodes of the machine share it.

Every change is one transaction that begins by taking the write lock (`BEGIN IMMEDIATE`), so that two nodes never decide
on the same counts; and a commit is on the disk before it is acted on (`synchronous=FULL`), so that no power cut makes a
run start twice. SQLite's locks do not hold over network shares: there the file is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import StoreError
from duck.services.automations.admission import admit, may_start
from duck.services.automations.engine import Ended, Standing
from duck.services.automations.engines.local_rows import SCHEMA, maybe, moment, number, run_of
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.inbox import Inbox

# How long a node waits for another's transaction; these last milliseconds.
_BUSY_S: Final = 10.0
_DAY: Final = 86_400_000_000
_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class LocalEngine:
    """An `Engine` in the file at `path`, which is made with its directory's rights and for its owner alone.

    Raises:
        StoreError: it cannot be opened, or was made by a newer Duck.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The store of automations at {path} cannot be opened: {error}.") from error

    def _migrate(self) -> None:
        with self._change():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > len(SCHEMA):
                raise StoreError(
                    f"The store of automations at {self._path} was made by a newer Duck; start that one, or move the"
                    " file away."
                )
            for step, statements in enumerate(SCHEMA[version:], version + 1):
                for statement in statements.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={step}")

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction, which no other node's comes between."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"The store of automations at {self._path} refuses: {error}.") from error

    # -- an Engine ------------------------------------------------------------------------------------------------

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """See `Engine`: a file tells nobody."""

    def now(self) -> datetime:
        """See `Engine`: this machine's clock."""
        return datetime.now(UTC)

    def close(self) -> None:
        """See `Engine`."""
        self._db.close()

    def register(self, declarations: Sequence[Declaration]) -> dict[str, Standing]:
        """See `Engine`."""
        now = number(self.now())
        with self._change():
            known = {row["name"]: row["revision"] for row in self._db.execute("SELECT name, revision FROM automation")}
            new = [each for each in declarations if known.get(each.name) != each.revision]
            self._db.executemany(
                "INSERT INTO automation (name, revision, since) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, since = excluded.since",
                [(each.name, each.revision, now) for each in new],
            )
        names = {each.name for each in declarations}
        return {name: standing for name, standing in self.standings().items() if name in names}

    def claim(self, dues: Sequence[tuple[Declaration, Due]], node: str = "") -> list[Run]:
        """See `Engine`."""
        won: list[Run] = []
        now = number(self.now())
        with self._change():
            for declaration, due in dues:
                row = self._db.execute(
                    "SELECT revision, since FROM automation WHERE name = ?", (declaration.name,)
                ).fetchone()
                if row is None or row["revision"] != declaration.revision:
                    continue
                planned, since = number(due.planned), row["since"]
                whose = node if declaration.is_for_each else ""
                if not declaration.is_for_each:
                    # Decided on, and perhaps forgotten since; but for a clock that was ahead, and has been put back.
                    if planned <= since <= now:
                        continue
                    self._db.execute(
                        "UPDATE automation SET since = ? WHERE name = ?",
                        (planned if since > now else max(since, planned), declaration.name),
                    )
                known = self._db.execute(
                    "SELECT 1 FROM run WHERE cause = 'schedule' AND name = ? AND revision = ? AND planned = ?"
                    " AND for_node = ?",
                    (declaration.name, declaration.revision, planned, whose),
                ).fetchone()
                if known is None:
                    skips = "" if due.runs else due.reason
                    won.append(
                        self._insert(declaration, planned, Cause.SCHEDULE, now, due.missed, skips=skips, node=whose)
                    )
        return won

    def enqueue(
        self,
        declaration: Declaration,
        planned: datetime,
        cause: Cause,
        event: str = "",
        missed: int = 0,
        node: str = "",
    ) -> Run:
        """See `Engine`."""
        with self._change():
            now = number(self.now())
            return self._insert(declaration, number(planned), cause, now, missed, event=event, node=node)

    def join(self, node: str) -> None:
        """See `Engine`."""
        now = number(self.now())
        with self._change():
            self._db.execute(
                "INSERT INTO node (name, beat) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET beat = excluded.beat",
                (node, now),
            )
            self._db.execute("DELETE FROM node WHERE beat < ?", (now - _DAY,))

    def nodes(self, silent_s: float) -> list[str]:
        """See `Engine`."""
        oldest = number(self.now() - timedelta(seconds=silent_s))
        return [row["name"] for row in self._read("SELECT name FROM node WHERE beat >= ? ORDER BY name", oldest)]

    def _insert(
        self,
        declaration: Declaration,
        planned: int,
        cause: Cause,
        now: int,
        missed: int,
        *,
        skips: str = "",
        event: str = "",
        node: str = "",
    ) -> Run:
        name = declaration.name
        state, reason = State.SKIPPED, skips
        if not skips:
            running, queued = self._count(name, State.RUNNING, node), self._count(name, State.QUEUED, node)
            admission = admit(declaration.overlap, running, queued)
            state, reason = admission.state, admission.reason
            if admission.replaces:
                self._cancel("name = ? AND for_node = ?", (name, node), now, "replaced by a newer run")
        cursor = self._db.execute(
            "INSERT INTO run (name, revision, planned, cause, state, reason, not_before, missed, event, created, ended,"
            " for_node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                declaration.revision,
                planned,
                cause,
                state,
                reason,
                now,
                missed,
                event,
                now,
                now if state.is_over else None,
                node,
            ),
        )
        return self._get(cursor.lastrowid)

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """See `Engine`."""
        waiting = (
            "SELECT id, name, for_node FROM run WHERE state = 'queued' AND not_before <= ? AND for_node IN ('', ?)"
            " ORDER BY not_before, planned, id"
        )
        left = dict(room)
        # Nearly always there is nothing, which is seen without the lock.
        if not any(left.values()) or not self._read(waiting + " LIMIT 1", number(self.now()), node):
            return []
        now = number(self.now())
        taken: list[Run] = []
        with self._change():
            for row in self._db.execute(waiting, (now, node)).fetchall():
                declaration = declarations.get(row["name"])
                if declaration is None or left.get(declaration.lane, 0) <= 0:
                    continue
                running = self._count(declaration.name, State.RUNNING, row["for_node"])
                if not may_start(declaration.overlap, running):
                    continue
                left[declaration.lane] -= 1
                self._db.execute(
                    "UPDATE run SET state = 'running', node = ?, attempt = attempt + 1, started = ?, beat = ?"
                    " WHERE id = ?",
                    (node, now, now, row["id"]),
                )
                taken.append(self._get(row["id"]))
        return taken

    def beat(self, node: str, runs: Sequence[int]) -> set[int]:
        """See `Engine`."""
        if not runs:
            return set()
        now = number(self.now())
        marks = ",".join("?" * len(runs))
        own = f"id IN ({marks}) AND state = 'running' AND node = ?"
        with self._change():
            self._db.execute(f"UPDATE run SET beat = ? WHERE {own}", (now, *runs, node))
            go_on = self._db.execute(f"SELECT id FROM run WHERE {own} AND NOT cancels", (*runs, node)).fetchall()
        return set(runs) - {row["id"] for row in go_on}

    def finish(self, run: Run, ended: Ended) -> bool:
        """See `Engine`."""
        now = number(self.now())
        mine = "WHERE id = ? AND state = 'running' AND node = ? AND attempt = ?"
        whose = (run.id, run.node, run.attempt)
        with self._change():
            if ended.retry_at is not None:
                changed = self._db.execute(
                    f"UPDATE run SET state = 'queued', reason = ?, code = ?, output = ?, not_before = ? {mine}",
                    (ended.reason, ended.code, ended.output, number(ended.retry_at), *whose),
                )
            else:
                changed = self._db.execute(
                    f"UPDATE run SET state = ?, reason = ?, code = ?, output = ?, ended = ? {mine}",
                    (ended.state, ended.reason, ended.code, ended.output, now, *whose),
                )
            return changed.rowcount == 1

    def give_up(self, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
        """See `Engine`."""
        now = self.now()
        oldest = number(now - timedelta(seconds=silent_s))
        columns = "SELECT id, name, node, for_node, attempt FROM run WHERE"
        silent = (
            f"{columns} state = 'running' AND beat < ?1 UNION ALL {columns} state = 'queued' AND for_node != ''"
            " AND NOT EXISTS (SELECT 1 FROM node WHERE node.name = for_node AND node.beat >= ?1)"
        )
        if not self._read(silent + " LIMIT 1", oldest):
            return []
        given_up: list[Run] = []
        with self._change():
            for row in self._db.execute(silent, (oldest,)).fetchall():
                declaration = declarations.get(row["name"])
                reason = f"its node {row['node'] or row['for_node']} fell silent"
                if declaration is not None and declaration.on_crash == "retry" and not row["for_node"]:
                    at = now + timedelta(seconds=declaration.backoff.wait_s(row["attempt"]))
                    self._db.execute(
                        "UPDATE run SET state = 'queued', node = '', reason = ?, not_before = ? WHERE id = ?",
                        (reason, number(at), row["id"]),
                    )
                else:
                    self._db.execute(
                        "UPDATE run SET state = 'lost', reason = ?, ended = ? WHERE id = ?",
                        (reason, number(now), row["id"]),
                    )
                given_up.append(self._get(row["id"]))
        return given_up

    def cancel(self, run_id: int) -> bool:
        """See `Engine`."""
        with self._change():
            return self._cancel("id = ?", (run_id,), number(self.now()), "cancelled") > 0

    def _cancel(self, which: str, values: tuple[str | int, ...], now: int, reason: str) -> int:
        queued = self._db.execute(
            f"UPDATE run SET state = 'cancelled', reason = ?, ended = ? WHERE state = 'queued' AND {which}",
            (reason, now, *values),
        )
        running = self._db.execute(
            f"UPDATE run SET cancels = 1, reason = ? WHERE state = 'running' AND {which}", (reason, *values)
        )
        return queued.rowcount + running.rowcount

    def pause(self, name: str, until: datetime | None) -> None:
        """See `Engine`."""
        with self._change():
            self._db.execute("UPDATE automation SET paused_until = ? WHERE name = ?", (number(until or _FOREVER), name))

    def resume(self, name: str) -> None:
        """See `Engine`."""
        now = number(self.now())
        with self._change():
            self._db.execute(
                "UPDATE automation SET paused_until = NULL, since = max(since, ?)"
                " WHERE name = ? AND paused_until IS NOT NULL",
                (now, name),
            )

    def paused(self) -> dict[str, datetime]:
        """See `Engine`."""
        rows = self._read("SELECT name, paused_until FROM automation WHERE paused_until IS NOT NULL")
        return {row["name"]: moment(row["paused_until"]) for row in rows}

    def standings(self) -> dict[str, Standing]:
        """See `Engine`."""
        rows = self._read("SELECT name, revision, since, paused_until FROM automation ORDER BY name")
        return {
            row["name"]: Standing(row["name"], row["revision"], moment(row["since"]), maybe(row["paused_until"]))
            for row in rows
        }

    def runs(
        self, name: str | None = None, *, limit: int = 50, state: State | None = None, before: int | None = None
    ) -> list[Run]:
        """See `Engine`."""
        asked = [("name = ?", name), ("state = ?", state), ("id < ?", before)]
        where = " AND ".join(condition for condition, value in asked if value is not None) or "1"
        values = [value for _, value in asked if value is not None]
        return [
            run_of(row)
            for row in self._read(f"SELECT * FROM run WHERE {where} ORDER BY id DESC LIMIT ?", *values, limit)
        ]

    def run(self, run_id: int) -> Run | None:
        """See `Engine`."""
        rows = self._read("SELECT * FROM run WHERE id = ?", run_id)
        return run_of(rows[0]) if rows else None

    def prune(self, keep: int, keep_s: float) -> int:
        """See `Engine`."""
        oldest = number(self.now() - timedelta(seconds=keep_s))
        with self._change():
            gone = self._db.execute(
                "DELETE FROM run WHERE state NOT IN ('queued', 'running') AND ended < ? AND id NOT IN ("
                " SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY name ORDER BY id DESC) AS place FROM run)"
                " WHERE place <= ?)",
                (oldest, keep),
            )
            return gone.rowcount

    # -- below ----------------------------------------------------------------------------------------------------

    def _count(self, name: str, state: State, node: str) -> int:
        found = self._db.execute(
            f"SELECT count(*) FROM run WHERE name = ? AND state = '{state}' AND for_node = ?", (name, node)
        ).fetchone()
        return int(found[0])

    def _get(self, run_id: int | None) -> Run:
        return run_of(self._db.execute("SELECT * FROM run WHERE id = ?", (run_id,)).fetchone())

    def _read(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                # A reader meets a lock only while another node recovers the write-ahead log.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise StoreError(f"The store of automations at {self._path} cannot be read: {error}.") from error
                time.sleep(0.01)
            except sqlite3.Error as error:
                raise StoreError(f"The store of automations at {self._path} cannot be read: {error}.") from error
