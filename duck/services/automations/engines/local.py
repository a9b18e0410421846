"""The engine of one machine: a SQLite file, with nothing to install. All nodes of the machine share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duck.automation.admission import BACKFILLED, REPLACED, admit, may_start
from duck.automation.text import clean
from duck.services.automations.due import stale
from duck.services.automations.engine import KEPT_NODE, KEPT_TOLD, NOTHING_PRINTED, Ended, Node, Printed, Standing
from duck.services.automations.engines.local_rows import maybe, moment, node_of, number, run_of
from duck.services.automations.engines.sqlite_file import SqliteFile
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.inbox import Inbox
    from duck.services.mounts import Mounts

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class LocalEngine:
    """An `Engine` in the file at `path`, which is made with its directory's rights and for its owner alone.

    Raises:
        StoreError: it lies on a network share, cannot be opened, or was made by a newer Duck.
    """

    def __init__(self, path: Path, mounts: Mounts | None = None) -> None:
        self._file = SqliteFile(path, mounts)
        self._db = self._file.db

    # -- an Engine ------------------------------------------------------------------------------------------------

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """See `Engine`: a file tells nobody."""

    def now(self) -> datetime:
        """See `Engine`: this machine's clock."""
        return datetime.now(UTC)

    def close(self) -> None:
        """See `Engine`."""
        self._file.close()

    def register(self, declarations: Sequence[Declaration]) -> dict[str, Standing]:
        """See `Engine`."""
        now = number(self.now())
        with self._file.change():
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
        with self._file.change():
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
                    if not skips and self._is_backfilled(declaration, planned):
                        skips = BACKFILLED
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
        with self._file.change():
            now = number(self.now())
            return self._insert(declaration, number(planned), cause, now, missed, event=event, node=node)

    def backfill(self, declaration: Declaration, times: Sequence[datetime]) -> list[Run]:
        """See `Engine`."""
        queued: list[Run] = []
        now = number(self.now())
        with self._file.change():
            for planned in map(number, times):
                has_run = self._db.execute(
                    "SELECT 1 FROM run WHERE name = ? AND planned = ? AND cause = 'schedule'"
                    " AND state IN ('queued', 'running', 'succeeded')",
                    (declaration.name, planned),
                ).fetchone()
                if has_run is None and not self._is_backfilled(declaration, planned):
                    queued.append(self._add(declaration, planned, Cause.BACKFILL, now, State.QUEUED))
        return queued

    def _is_backfilled(self, declaration: Declaration, planned: int) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM run WHERE cause = 'backfill' AND name = ? AND revision = ? AND planned = ?",
            (declaration.name, declaration.revision, planned),
        ).fetchone()
        return found is not None

    def join(self, node: str, ahead_s: float = 0.0, *, takes_each: bool = True) -> None:
        """See `Engine`."""
        with self._file.change():
            self._db.execute(
                "INSERT OR REPLACE INTO node (name, beat, ahead_s, takes_each) VALUES (?, ?, ?, ?)",
                (node, number(self.now()), ahead_s, takes_each),
            )

    def leave(self, node: str) -> None:
        """See `Engine`."""
        with self._file.change():
            self._db.execute("DELETE FROM node WHERE name = ?", (node,))

    def nodes(self, silent_s: float) -> list[Node]:
        """See `Engine`."""
        oldest = number(self.now() - timedelta(seconds=silent_s))
        return [node_of(row) for row in self._file.read("SELECT * FROM node WHERE beat >= ? ORDER BY name", oldest)]

    def once(self, key: str) -> bool:
        """See `Engine`."""
        with self._file.change():
            said = self._db.execute(
                "INSERT INTO told (key, at) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", (key, number(self.now()))
            )
            return said.rowcount == 1

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
            running, queued = self._live(name, State.RUNNING, node), self._live(name, State.QUEUED, node)
            admission = admit(declaration.overlap, running, queued)
            state, reason = State(admission.state), admission.reason
            if admission.replaces:
                which = "name = ? AND for_node = ? AND cause != 'backfill'"
                self._cancel(which, (name, node), now, REPLACED)
        return self._add(declaration, planned, cause, now, state, reason, missed, event, node)

    def _add(
        self,
        declaration: Declaration,
        planned: int,
        cause: Cause,
        now: int,
        state: State,
        reason: str = "",
        missed: int = 0,
        event: str = "",
        node: str = "",
    ) -> Run:
        planned_by = (declaration.name, declaration.revision, planned, cause)
        cursor = self._db.execute(
            "INSERT INTO run (name, revision, planned, cause, state, reason, not_before, missed, event, created, ended,"
            " for_node) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*planned_by, state, reason, now, missed, event, now, now if state.is_over else None, node),
        )
        return self._get(cursor.lastrowid)

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """See `Engine`."""
        waiting = (
            "SELECT id, name, for_node FROM run WHERE state = 'queued' AND not_before <= ? AND for_node IN ('', ?)"
            " ORDER BY cause = 'backfill', not_before, planned, id"
        )
        left = dict(room)
        # Nearly always there is nothing, which is seen without the lock.
        if not any(left.values()) or not self._file.read(waiting + " LIMIT 1", number(self.now()), node):
            return []
        at = self.now()
        now = number(at)
        taken: list[Run] = []
        with self._file.change():
            for row in self._db.execute(waiting, (now, node)).fetchall():
                declaration = declarations.get(row["name"])
                if declaration is None or left.get(declaration.lane, 0) <= 0:
                    continue
                reason = stale(declaration, self._get(row["id"]), at)
                if reason:
                    self._db.execute(
                        "UPDATE run SET state = 'skipped', reason = ?, ended = ? WHERE id = ?", (reason, now, row["id"])
                    )
                    taken.append(self._get(row["id"]))
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

    def beat(self, node: str, runs: Sequence[int], printed: Mapping[int, Printed] = NOTHING_PRINTED) -> set[int]:
        """See `Engine`."""
        if not runs:
            return set()
        now = number(self.now())
        marks = ",".join("?" * len(runs))
        own = f"id IN ({marks}) AND state = 'running' AND node = ?"
        with self._file.change():
            self._db.execute(f"UPDATE run SET beat = ? WHERE {own}", (now, *runs, node))
            self._db.executemany(
                "UPDATE run SET output = ?, printed = ? WHERE id = ? AND state = 'running' AND node = ?",
                [(clean(each.text), each.count, run_id, node) for run_id, each in printed.items()],
            )
            go_on = self._db.execute(f"SELECT id FROM run WHERE {own} AND NOT cancels", (*runs, node)).fetchall()
        return set(runs) - {row["id"] for row in go_on}

    def finish(self, run: Run, ended: Ended) -> bool:
        """See `Engine`."""
        now = number(self.now())
        mine = "WHERE id = ? AND state = 'running' AND node = ? AND attempt = ?"
        whose = (run.id, run.node, run.attempt)
        how = (clean(ended.reason), ended.code, clean(ended.output), ended.printed)
        with self._file.change():
            asked = self._db.execute("SELECT cancels FROM run WHERE id = ?", (run.id,)).fetchone()
            is_to_end = asked is not None and asked["cancels"]
            if ended.retry_at is not None and not is_to_end:
                changed = self._db.execute(
                    "UPDATE run SET state = 'queued', reason = ?, code = ?, output = ?, printed = ?, not_before = ?,"
                    f" attempt = attempt - ? {mine}",
                    (*how, number(ended.retry_at), not ended.counts, *whose),
                )
            else:
                state = State.CANCELLED if ended.state is State.QUEUED else ended.state
                changed = self._db.execute(
                    f"UPDATE run SET state = ?, reason = ?, code = ?, output = ?, printed = ?, ended = ? {mine}",
                    (state, *how, now, *whose),
                )
            return changed.rowcount == 1

    def give_up(self, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
        """See `Engine`."""
        now = self.now()
        oldest = number(now - timedelta(seconds=silent_s))
        columns = "SELECT id, name, node, for_node, attempt, cancels FROM run WHERE"
        silent = (
            f"{columns} state = 'running' AND beat < ?1 UNION ALL {columns} state = 'queued' AND for_node != ''"
            " AND NOT EXISTS (SELECT 1 FROM node WHERE node.name = for_node AND node.beat >= ?1)"
        )
        if not self._file.read(silent + " LIMIT 1", oldest):
            return []
        given_up: list[Run] = []
        with self._file.change():
            for row in self._db.execute(silent, (oldest,)).fetchall():
                declaration = declarations.get(row["name"])
                reason = f"its node {row['node'] or row['for_node']} fell silent"
                is_over = row["for_node"] or row["cancels"]
                wait_s = None
                if declaration is not None and not is_over:
                    wait_s, reason = declaration.after_crash(row["attempt"], reason)
                if wait_s is not None:
                    at = now + timedelta(seconds=wait_s)
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
        with self._file.change():
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
        with self._file.change():
            self._db.execute("UPDATE automation SET paused_until = ? WHERE name = ?", (number(until or _FOREVER), name))

    def resume(self, name: str) -> None:
        """See `Engine`."""
        now = number(self.now())
        with self._file.change():
            self._db.execute(
                "UPDATE automation SET paused_until = NULL, since = max(since, ?)"
                " WHERE name = ? AND paused_until IS NOT NULL",
                (now, name),
            )

    def paused(self) -> dict[str, datetime]:
        """See `Engine`."""
        rows = self._file.read("SELECT name, paused_until FROM automation WHERE paused_until IS NOT NULL")
        return {row["name"]: moment(row["paused_until"]) for row in rows}

    def standings(self) -> dict[str, Standing]:
        """See `Engine`."""
        rows = self._file.read("SELECT name, revision, since, paused_until FROM automation ORDER BY name")
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
            for row in self._file.read(f"SELECT * FROM run WHERE {where} ORDER BY id DESC LIMIT ?", *values, limit)
        ]

    def run(self, run_id: int) -> Run | None:
        """See `Engine`."""
        rows = self._file.read("SELECT * FROM run WHERE id = ?", run_id)
        return run_of(rows[0]) if rows else None

    def prune(self, keep: int, keep_s: float) -> int:
        """See `Engine`."""
        now = self.now()
        oldest = number(now - timedelta(seconds=keep_s))
        with self._file.change():
            self._db.execute("DELETE FROM told WHERE at < ?", (number(now - KEPT_TOLD),))
            self._db.execute("DELETE FROM node WHERE beat < ?", (number(now - KEPT_NODE),))
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

    def _live(self, name: str, state: State, node: str) -> int:
        """Those that are backfilled stand behind all others, and keep none of them."""
        found = self._db.execute(
            f"SELECT count(*) FROM run WHERE name = ? AND state = '{state}' AND for_node = ? AND cause != 'backfill'",
            (name, node),
        ).fetchone()
        return int(found[0])

    def _get(self, run_id: int | None) -> Run:
        return run_of(self._db.execute("SELECT * FROM run WHERE id = ?", (run_id,)).fetchone())
