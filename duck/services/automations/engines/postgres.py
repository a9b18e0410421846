"""The engine of many machines on one PostgreSQL: procrastinate queues, locks and notifies, and keeps what has happened.

A run is a job of procrastinate and a row of Duck's own, written in one transaction. Whoever decides on an automation
holds its row meanwhile: claims, starts and cancellations of one automation come one after the other, those of others
go on. The clock of the database is everybody's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
from psycopg import sql

from duck.automation.admission import BACKFILLED, is_crowded
from duck.automation.text import MOST_EVENT, output_of, reason_of
from duck.exceptions import StoreError
from duck.services.automations.engine import KEPT_MOST, NOTHING_PRINTED, Ended, Node, Printed, Standing
from duck.services.automations.engines.postgres_database import Database, Row, complete
from duck.services.automations.engines.postgres_pruning import prune
from duck.services.automations.engines.postgres_runs import (
    COLUMNS,
    Insertion,
    cancel,
    claimed,
    finish_job,
    forget_event,
    hold,
    queued_for,
    read_run,
    skip,
    start,
    startable,
)
from duck.services.automations.engines.postgres_silence import give_up
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.inbox import Inbox

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)


class PostgresEngine:
    """An `Engine` in the database at `address`, which is asked for and connected with when something is asked."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._database = Database(address)
        # Where the answer to a commit was lost, whether it was made is seen the next time.
        self._perhaps_taken: list[tuple[int, int]] = []
        self._perhaps_ended: dict[tuple[int, int], State] = {}
        self._worker: int | None = None  # what procrastinate calls this node

    # -- an Engine ------------------------------------------------------------------------------------------------

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """See `Engine`: procrastinate notifies of jobs that are queued, and of those that are to end."""
        self._database.attend(inbox, on_change)

    def now(self) -> datetime:
        """See `Engine`: the database's clock."""
        moment: datetime = self._database.rows("SELECT clock_timestamp() AS now")[0]["now"]
        return moment

    def close(self) -> None:
        """See `Engine`."""
        self._database.close()

    def register(self, declarations: Sequence[Declaration]) -> dict[str, Standing]:
        """See `Engine`."""
        ordered = sorted(declarations, key=lambda each: each.name)  # the same order everywhere: no two wait in a ring
        self._database.rows(
            "INSERT INTO duck_automation AS known (name, revision, since)"
            " SELECT name, revision, clock_timestamp() FROM unnest(%s::text[], %s::text[]) AS told (name, revision)"
            " ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, since = excluded.since"
            " WHERE known.revision <> excluded.revision",
            [each.name for each in ordered],
            [each.revision for each in ordered],
        )
        names = {each.name for each in declarations}
        return {name: standing for name, standing in self.standings().items() if name in names}

    def claim(self, dues: Sequence[tuple[Declaration, Due]], node: str = "") -> list[Run]:
        """See `Engine`."""
        names = sorted({declaration.name for declaration, _ in dues})
        with self._database.change() as (connection, jobs):
            standings = hold(connection, names)
            insertion = Insertion(connection, jobs, names)
            known, backfilled = claimed(connection, dues, node)
            for declaration, due in dues:
                standing = standings.get(declaration.name)
                if standing is None or standing["revision"] != declaration.revision:
                    continue
                if standing["paused_until"] is not None and due.planned < standing["paused_until"]:
                    continue  # which this node has not seen yet
                whose = node if declaration.is_for_each else ""
                if not declaration.is_for_each:
                    since = standing["since"]
                    # Decided on, and perhaps forgotten since; but for a clock that was ahead, and has been put back.
                    if due.planned <= since <= insertion.now:
                        continue
                    standing["since"] = due.planned if since > insertion.now else max(since, due.planned)
                key = (declaration.name, due.planned, whose)
                if key not in known:
                    known.add(key)
                    skips = "" if due.runs else due.reason
                    if not skips and (declaration.name, due.planned) in backfilled:
                        skips = BACKFILLED
                    insertion.add(declaration, due.planned, Cause.SCHEDULE, due.missed, node=whose, skips=skips)
            connection.execute(
                "UPDATE duck_automation SET since = told.since FROM unnest(%s::text[], %s::timestamptz[])"
                " AS told (name, since) WHERE duck_automation.name = told.name",
                (list(standings), [standing["since"] for standing in standings.values()]),
            )
            return insertion.made()

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
        with self._database.change() as (connection, jobs):
            hold(connection, [declaration.name])
            known = queued_for(connection, declaration.name, node, occasion) if occasion else None
            if known is not None:
                return known
            insertion = Insertion(connection, jobs, [declaration.name])
            insertion.add(declaration, planned, cause, missed, event=event, node=node, occasion=occasion)
            return insertion.made()[0]

    def backfill(self, declaration: Declaration, times: Sequence[datetime]) -> list[Run]:
        """See `Engine`."""
        with self._database.change() as (connection, jobs):
            hold(connection, [declaration.name])
            insertion = Insertion(connection, jobs, [declaration.name])
            rows = connection.execute(
                "SELECT planned FROM duck_run WHERE name = %s AND planned = ANY(%s)"
                " AND (cause = 'schedule' AND state IN ('queued', 'running', 'succeeded')"
                "  OR cause = 'backfill' AND revision = %s)",
                (declaration.name, list(times), declaration.revision),
            )
            known = {row["planned"] for row in rows}
            for planned in dict.fromkeys(times):
                if planned not in known:
                    insertion.add(declaration, planned, Cause.BACKFILL)
            return insertion.made()

    def join(self, node: str, ahead_s: float = 0.0, *, takes_each: bool = True) -> None:
        """See `Engine`."""
        self._database.rows(
            "INSERT INTO duck_node (name, beat, ahead_s, takes_each) VALUES (%s, clock_timestamp(), %s, %s)"
            " ON CONFLICT (name) DO UPDATE SET beat = excluded.beat, ahead_s = excluded.ahead_s,"
            " takes_each = excluded.takes_each",
            node,
            ahead_s,
            takes_each,
        )

    def leave(self, node: str) -> None:
        """See `Engine`."""
        with self._database.change() as (connection, jobs):
            connection.execute("DELETE FROM duck_node WHERE name = %s", (node,))
            if self._worker is not None:
                complete(jobs.unregister_worker(self._worker))
        self._worker = None

    def nodes(self, silent_s: float) -> list[Node]:
        """See `Engine`."""
        rows = self._database.rows(
            "SELECT name, beat, ahead_s, takes_each FROM duck_node"
            " WHERE beat >= clock_timestamp() - make_interval(secs => %s) ORDER BY name",
            silent_s,
        )
        return [Node(**row) for row in rows]

    def once(self, key: str) -> bool:
        """See `Engine`."""
        said = self._database.rows(
            "INSERT INTO duck_told (key, at) VALUES (%s, clock_timestamp()) ON CONFLICT (key) DO NOTHING RETURNING key",
            key,
        )
        return bool(said)

    def take(self, node: str, declarations: Mapping[str, Declaration], room: Mapping[str, int]) -> list[Run]:
        """See `Engine`."""
        taken = self._recover_taken(node)
        left = dict(room)
        # Nearly always there is nothing, which is seen without a lock.
        names = [name for name in self._waiting(node) if name in declarations] if any(left.values()) else []
        if not names:
            self._perhaps_taken = []
            return taken
        with self._as_worker(), self._database.change() as (connection, jobs):
            self._worker = self._worker or complete(jobs.register_worker())
            # Whom another decides on just now is left to him: he takes it, or tells of it when he has done.
            free = connection.execute(
                "SELECT name FROM duck_automation WHERE name = ANY(%s) ORDER BY name FOR UPDATE SKIP LOCKED", (names,)
            )
            found = startable(connection, node, {row["name"]: declarations[row["name"]] for row in free}, left)
            skipped = skip(connection, jobs, found.stale)
            started = start(connection, node, self._worker, found.jobs)
            self._perhaps_taken = [(run.id, run.attempt) for run in taken + started]
        self._perhaps_taken = []
        return taken + skipped + started

    @contextlib.contextmanager
    def _as_worker(self) -> Iterator[None]:
        """Whose registration may have been undone, or forgotten, registers again."""
        try:
            yield
        except StoreError:
            self._worker = None
            raise

    def _recover_taken(self, node: str) -> list[Run]:
        """What was started by a commit of which only the answer was lost."""
        if not self._perhaps_taken:
            return []
        rows = self._database.rows(
            _select("WHERE id = ANY(%s) AND state = 'running' AND node = %s"),
            [run for run, _ in self._perhaps_taken],
            node,
        )
        return [run for run in map(read_run, rows) if (run.id, run.attempt) in self._perhaps_taken]

    def _waiting(self, node: str) -> list[str]:
        """The automations of which a run waits that `node` may take."""
        rows = self._database.rows(
            "SELECT DISTINCT name FROM duck_run WHERE state = 'queued' AND not_before <= clock_timestamp()"
            " AND for_node IN ('', %s)",
            node,
        )
        return [row["name"] for row in rows]

    def beat(self, node: str, runs: Sequence[int], printed: Mapping[int, Printed] = NOTHING_PRINTED) -> set[int]:
        """See `Engine`."""
        with self._database.change() as (connection, jobs):
            if self._worker is not None:
                complete(jobs.update_heartbeat(self._worker))
            if printed:
                connection.cursor().executemany(
                    "UPDATE duck_run SET output = %s, printed = %s WHERE id = %s AND state = 'running' AND node = %s",
                    [(output_of(each.text), each.count, run_id, node) for run_id, each in printed.items()],
                )
            go_on = connection.execute(
                "UPDATE duck_run SET beat = clock_timestamp() WHERE id = ANY(%s) AND state = 'running' AND node = %s"
                " RETURNING id, cancels",
                (list(runs), node),
            ).fetchall()
        return set(runs) - {row["id"] for row in go_on if not row["cancels"]}

    def finish(self, run: Run, ended: Ended) -> bool:
        """See `Engine`."""
        said = (run.id, run.attempt)
        with self._database.change() as (connection, jobs):
            row = connection.execute(
                "SELECT job_id, cancels, size FROM duck_run WHERE id = %s AND state = 'running' AND node = %s"
                " AND attempt = %s FOR UPDATE",
                (run.id, run.node, run.attempt),
            ).fetchone()
            if row is None:
                state = self._perhaps_ended.pop(said, None)
                return state is not None and _is_so(connection, run, state)
            again_at = None if row["cancels"] else ended.retry_at
            state = ended.state
            if again_at is not None:
                state = State.QUEUED
                jobs.retry_job_by_id(row["job_id"], again_at)
            else:
                if state is State.QUEUED:  # it was to be tried again, and somebody wants it to end
                    state = State.CANCELLED
                finish_job(jobs, row["job_id"], state)
            connection.execute(
                "UPDATE duck_run SET state = %s, reason = %s, code = %s, output = %s, printed = %s,"
                " not_before = coalesce(%s, not_before), attempt = attempt - %s,"
                " ended = CASE WHEN %s THEN clock_timestamp() END WHERE id = %s",
                (
                    *(state.value, reason_of(ended.reason), ended.code, output_of(ended.output), ended.printed),
                    *(again_at, int(state is State.QUEUED and not ended.counts), state.is_over, run.id),
                ),
            )
            if state.is_over and row["size"] > MOST_EVENT:
                forget_event(connection, run.id)
            self._perhaps_ended[said] = state
        del self._perhaps_ended[said]
        return True

    def give_up(self, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
        """See `Engine`."""
        return give_up(self._database, silent_s, declarations)

    def cancel(self, run_id: int) -> bool:
        """See `Engine`."""
        with self._database.change() as (connection, jobs):
            row = connection.execute("SELECT id, job_id, name FROM duck_run WHERE id = %s", (run_id,)).fetchone()
            if row is None:
                return False
            hold(connection, [row["name"]])
            return cancel(connection, jobs, [row], "cancelled") > 0

    def pause(self, name: str, until: datetime | None) -> None:
        """See `Engine`."""
        self._database.rows("UPDATE duck_automation SET paused_until = %s WHERE name = %s", until or _FOREVER, name)

    def resume(self, name: str) -> None:
        """See `Engine`."""
        self._database.rows(
            "UPDATE duck_automation SET paused_until = NULL, since = greatest(since, clock_timestamp())"
            " WHERE name = %s AND paused_until IS NOT NULL",
            name,
        )

    def paused(self) -> dict[str, datetime]:
        """See `Engine`."""
        rows = self._database.rows("SELECT name, paused_until FROM duck_automation WHERE paused_until IS NOT NULL")
        return {row["name"]: row["paused_until"] for row in rows}

    def standings(self) -> dict[str, Standing]:
        """See `Engine`."""
        rows = self._database.rows("SELECT name, revision, since, paused_until FROM duck_automation ORDER BY name")
        return {row["name"]: Standing(**row) for row in rows}

    def runs(
        self, name: str | None = None, *, limit: int = 50, state: State | None = None, before: int | None = None
    ) -> list[Run]:
        """See `Engine`."""
        asked: list[tuple[LiteralString, Any]] = [("name = %s", name), ("state = %s", state), ("id < %s", before)]
        where = " AND ".join(condition for condition, value in asked if value is not None) or "true"
        values = [value for _, value in asked if value is not None]
        rows = self._database.rows(_select(f"WHERE {where} ORDER BY id DESC LIMIT %s"), *values, limit)
        return [read_run(row) for row in rows]

    def run(self, run_id: int) -> Run | None:
        """See `Engine`."""
        rows = self._database.rows(_select("WHERE id = %s"), run_id)
        return read_run(rows[0]) if rows else None

    def crowded(self) -> set[str]:
        """See `Engine`."""
        rows = self._database.rows(
            "SELECT name, count(*) AS count, sum(size) AS size FROM duck_run"
            " WHERE state = 'queued' AND cause <> 'backfill' GROUP BY name, for_node"
        )
        return {row["name"] for row in rows if is_crowded(row["count"], row["size"])}

    def prune(self, keep: int, keep_s: float, most: int = KEPT_MOST) -> int:
        """See `Engine`; it goes on the next time where it takes long."""
        return prune(self._database, keep, keep_s, most)


def _select(rest: LiteralString) -> sql.Composed:
    return sql.SQL("SELECT {} FROM duck_run " + rest).format(COLUMNS)


def _is_so(connection: psycopg.Connection[Row], run: Run, state: State) -> bool:
    found = connection.execute(
        "SELECT 1 FROM duck_run WHERE id = %s AND node = %s AND attempt = %s AND state = %s",
        (run.id, run.node, run.attempt, state.value),
    )
    return found.fetchone() is not None
