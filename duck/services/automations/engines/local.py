"""The engine of one machine: a SQLite file, with nothing to install. All nodes of the machine share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from duck.automation.admission import BACKFILLED, is_crowded, may_start
from duck.automation.text import output_of
from duck.services.automations.due import stale
from duck.services.automations.engine import KEPT_MOST, NOTHING_PRINTED, Ended, Node, Printed, Standing
from duck.services.automations.engines.local_pruning import prune
from duck.services.automations.engines.local_rows import maybe, moment, node_of, number, run_of
from duck.services.automations.engines.local_runs import LocalRuns
from duck.services.automations.engines.sqlite_file import SqliteFile
from duck.services.automations.run import Cause, Run, State
from duck.services.automations.silence import Silent, after_silence

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
        self._mounts = mounts
        self._open(path)

    def _open(self, path: Path) -> None:
        self._file = SqliteFile(path, self._mounts)
        self._db = self._file.db
        self._runs = LocalRuns(self._db)

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
        """See `Engine`; where the file is another by now, it is that one from here on."""
        if not self._file.is_there:
            self._file.close()
            self._open(self._file.path)
        with self._file.change():
            now = number(self.now())
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
        with self._file.change():
            now = number(self.now())
            for declaration, due in dues:
                row = self._db.execute(
                    "SELECT revision, since, paused_until FROM automation WHERE name = ?", (declaration.name,)
                ).fetchone()
                if row is None or row["revision"] != declaration.revision:
                    continue
                planned, since = number(due.planned), row["since"]
                if row["paused_until"] is not None and planned < row["paused_until"]:
                    continue  # which this node has not seen yet
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
                    if not skips and self._runs.is_backfilled(declaration, planned):
                        skips = BACKFILLED
                    won.append(
                        self._runs.insert(
                            declaration, planned, Cause.SCHEDULE, now, due.missed, skips=skips, node=whose
                        )
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
        occasion: str = "",
    ) -> Run:
        """See `Engine`."""
        with self._file.change():
            known = self._runs.queued_for(declaration.name, node, occasion) if occasion else None
            if known is not None:
                return known
            now = number(self.now())
            return self._runs.insert(
                declaration, number(planned), cause, now, missed, event=event, node=node, occasion=occasion
            )

    def backfill(self, declaration: Declaration, times: Sequence[datetime]) -> list[Run]:
        """See `Engine`."""
        queued: list[Run] = []
        with self._file.change():
            now = number(self.now())
            for planned in map(number, times):
                has_run = self._db.execute(
                    "SELECT 1 FROM run WHERE name = ? AND planned = ? AND cause = 'schedule'"
                    " AND state IN ('queued', 'running', 'succeeded')",
                    (declaration.name, planned),
                ).fetchone()
                if has_run is None and not self._runs.is_backfilled(declaration, planned):
                    queued.append(self._runs.add(declaration, planned, Cause.BACKFILL, now, State.QUEUED))
        return queued

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

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """See `Engine`."""
        waiting = (
            "SELECT id, name, for_node, planned, cause, attempt FROM run"
            " WHERE state = 'queued' AND not_before <= ? AND for_node IN ('', ?)"
            " ORDER BY cause = 'backfill', not_before, planned, id"
        )
        left = dict(room)
        # Nearly always there is nothing, which is seen without the lock.
        if not any(left.values()) or not self._file.read(waiting + " LIMIT 1", number(self.now()), node):
            return []
        taken: list[Run] = []
        running: dict[tuple[str, str], int] = {}
        with self._file.change():
            at = self.now()
            now = number(at)
            for row in self._db.execute(waiting, (now, node)).fetchall():
                declaration = declarations.get(row["name"])
                if declaration is None or left.get(declaration.lane, 0) <= 0:
                    continue
                name, which = row["name"], (row["name"], row["for_node"])
                asked = Run(
                    row["id"], name, "", moment(row["planned"]), Cause(row["cause"]), State.QUEUED, "", row["attempt"]
                )
                reason = stale(declaration, asked, at)
                if reason:
                    self._runs.skip(row["id"], reason, now)
                    taken.append(self._runs.get(row["id"]))
                    continue
                if which not in running:
                    running[which] = self._runs.count(name, State.RUNNING, row["for_node"])
                if not may_start(declaration.overlap, running[which]):
                    continue
                left[declaration.lane] -= 1
                running[which] += 1
                self._db.execute(
                    "UPDATE run SET state = 'running', node = ?, attempt = attempt + 1, started = ?, beat = ?"
                    " WHERE id = ?",
                    (node, now, now, row["id"]),
                )
                taken.append(self._runs.get(row["id"]))
        return taken

    def beat(self, node: str, runs: Sequence[int], printed: Mapping[int, Printed] = NOTHING_PRINTED) -> set[int]:
        """See `Engine`."""
        if not runs:
            return set()
        marks = ",".join("?" * len(runs))
        own = f"id IN ({marks}) AND state = 'running' AND node = ?"
        with self._file.change():
            self._db.execute(f"UPDATE run SET beat = ? WHERE {own}", (number(self.now()), *runs, node))
            self._db.executemany(
                "UPDATE run SET output = ?, printed = ? WHERE id = ? AND state = 'running' AND node = ?",
                [(output_of(each.text), each.count, run_id, node) for run_id, each in printed.items()],
            )
            go_on = self._db.execute(f"SELECT id FROM run WHERE {own} AND NOT cancels", (*runs, node)).fetchall()
        return set(runs) - {row["id"] for row in go_on}

    def finish(self, run: Run, ended: Ended) -> bool:
        """See `Engine`."""
        with self._file.change():
            return self._runs.finish(run, ended, number(self.now()))

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
                wait_s, reason = after_silence(Silent.of(row), declarations)
                if wait_s is not None:
                    at = now + timedelta(seconds=wait_s)
                    self._db.execute(
                        "UPDATE run SET state = 'queued', node = '', reason = ?, not_before = ? WHERE id = ?",
                        (reason, number(at), row["id"]),
                    )
                else:
                    self._runs.lose(row["id"], reason, number(now))
                given_up.append(self._runs.get(row["id"]))
        return given_up

    def cancel(self, run_id: int) -> bool:
        """See `Engine`."""
        with self._file.change():
            return self._runs.cancel("id = ?", (run_id,), number(self.now()), "cancelled") > 0

    def pause(self, name: str, until: datetime | None) -> None:
        """See `Engine`."""
        with self._file.change():
            self._db.execute("UPDATE automation SET paused_until = ? WHERE name = ?", (number(until or _FOREVER), name))

    def resume(self, name: str) -> None:
        """See `Engine`."""
        with self._file.change():
            self._db.execute(
                "UPDATE automation SET paused_until = NULL, since = max(since, ?)"
                " WHERE name = ? AND paused_until IS NOT NULL",
                (number(self.now()), name),
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

    def crowded(self) -> set[str]:
        """See `Engine`."""
        rows = self._file.read(
            "SELECT name, count(*) AS count, sum(size) AS size FROM run"
            " WHERE state = 'queued' AND cause != 'backfill' GROUP BY name, for_node"
        )
        return {row["name"] for row in rows if is_crowded(row["count"], row["size"])}

    def prune(self, keep: int, keep_s: float, most: int = KEPT_MOST) -> int:
        """See `Engine`; it goes on the next time where there is much."""
        with self._file.change():
            return prune(self._db, self.now(), keep, keep_s, most)
