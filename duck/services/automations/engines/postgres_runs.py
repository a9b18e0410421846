"""Runs in PostgreSQL: how a row is read, and how new ones are made together with their jobs.

Everything here happens within a transaction that holds the rows of the automations it is about.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from procrastinate.jobs import Job, Status
from procrastinate.sql import queries
from psycopg import sql
from psycopg.types.json import Jsonb

from duck.automation.admission import REPLACED, Crowded, admit, check_room, may_start
from duck.automation.text import MOST_EVENT, clean, remembered
from duck.exceptions import CrowdedError
from duck.services.automations.due import stale
from duck.services.automations.engines.postgres_database import complete
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from procrastinate.manager import JobManager

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.due import Due
    from duck.services.automations.engines.postgres_database import Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: Final = (
    "id",
    "name",
    "revision",
    "planned",
    "cause",
    "state",
    "reason",
    "attempt",
    "not_before",
    "missed",
    "event",
    "node",
    "created",
    "started",
    "beat",
    "ended",
    "code",
    "output",
    "cancels",
    "for_node",
    "printed",
)
# What procrastinate calls the ends of a job; all others are failures.
_STATUS: Final = {State.SUCCEEDED: Status.SUCCEEDED, State.CANCELLED: Status.ABORTED}
# Columns are named, never `*`: a prepared statement has to outlive a change of the tables.
COLUMNS: Final = sql.SQL(", ").join(map(sql.Identifier, _FIELDS))
_INSERT: Final = sql.SQL(
    "INSERT INTO duck_run"
    " (job_id, name, revision, planned, cause, state, reason, not_before, missed, event, size, created, ended,"
    "  for_node, occasion) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {}"
).format(COLUMNS)
# What a run leaves behind that has not begun: nothing of a long event.
_SHORT: Final = f"event = CASE WHEN state = 'queued' AND size > {MOST_EVENT} THEN '' ELSE event END"


def read_run(row: Row) -> Run:
    """The run of a row with COLUMNS."""
    values = {field: row[field] for field in _FIELDS}
    return Run(**{**values, "cause": Cause(row["cause"]), "state": State(row["state"])})


def queue_of(name: str, node: str = "") -> str:
    """procrastinate's queue of an automation, and its lock; of what is for one node alone, that node's.

    A queue's name has 128 characters at most.
    """
    return f"duck:{name}{_mark(node)}"


def _mark(node: str) -> str:
    return f":{hashlib.sha256(node.encode()).hexdigest()[:12]}" if node else ""


def hold(connection: psycopg.Connection[Row], names: Iterable[str]) -> dict[str, Row]:
    """Keep others from deciding on these automations until the transaction ends; how each stands."""
    rows = connection.execute(
        "SELECT name, revision, since, paused_until FROM duck_automation WHERE name = ANY(%s) ORDER BY name FOR UPDATE",
        (sorted(set(names)),),
    )
    return {row["name"]: row for row in rows}


def claimed(
    connection: psycopg.Connection[Row], dues: Sequence[tuple[Declaration, Due]], node: str
) -> tuple[set[tuple[str, datetime, str]], set[tuple[str, datetime]]]:
    """Which of these planned times have a row, and which were backfilled.

    procrastinate remembers the latest of each automation alone.
    """
    rows = connection.execute(
        "WITH due AS (SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::text[])"
        "  AS due (name, revision, planned, for_node))"
        " SELECT name, planned, for_node, false AS backfilled FROM duck_run"
        "  JOIN due USING (name, revision, planned, for_node) WHERE cause = 'schedule'"
        " UNION ALL SELECT name, planned, '', true FROM duck_run"
        "  JOIN due USING (name, revision, planned) WHERE cause = 'backfill'",
        (
            [declaration.name for declaration, _ in dues],
            [declaration.revision for declaration, _ in dues],
            [due.planned for _, due in dues],
            [node if declaration.is_for_each else "" for declaration, _ in dues],
        ),
    ).fetchall()
    return (
        {(row["name"], row["planned"], row["for_node"]) for row in rows if not row["backfilled"]},
        {(row["name"], row["planned"]) for row in rows if row["backfilled"]},
    )


def queued_for(connection: psycopg.Connection[Row], name: str, node: str, occasion: str) -> Run | None:
    """The run of an automation that was queued for that; None where there is none."""
    found = connection.execute(
        sql.SQL("SELECT {} FROM duck_run WHERE name = %s AND for_node = %s AND occasion = %s").format(COLUMNS),
        (name, node, occasion),
    ).fetchone()
    return read_run(found) if found is not None else None


class Insertion:
    """New runs of automations that are held."""

    def __init__(self, connection: psycopg.Connection[Row], jobs: JobManager, names: Sequence[str]) -> None:
        self._connection = connection
        self._jobs = jobs
        self.now: datetime = _one(connection.execute("SELECT clock_timestamp() AS now"))["now"]
        self._open: Counter[tuple[str, str, State]] = Counter()
        self._kept: Counter[tuple[str, str]] = Counter()  # how many bytes the events of those tell that wait
        for row in connection.execute(
            "SELECT name, for_node, state, count(*) AS count, sum(size) AS size FROM duck_run"
            " WHERE state IN ('queued', 'running') AND cause <> 'backfill' AND name = ANY(%s)"
            " GROUP BY name, for_node, state",
            (list(names),),
        ):
            self._open[row["name"], row["for_node"], State(row["state"])] = row["count"]
            if row["state"] == State.QUEUED:
                self._kept[row["name"], row["for_node"]] = row["size"]
        self._unwritten: list[tuple[Job | None, Cause, tuple[Any, ...]]] = []
        self._made: list[Run] = []

    def add(
        self,
        declaration: Declaration,
        planned: datetime,
        cause: Cause,
        missed: int = 0,
        *,
        event: str = "",
        node: str = "",
        skips: str = "",
        occasion: str = "",
    ) -> None:
        """One more, for `node` alone where one is named; `skips` is why it is not to run, where it is not.

        Raises:
            CrowdedError: no schedule has planned it, and too much of its automation waits.
        """
        name, state, reason = declaration.name, State.SKIPPED, skips
        if cause is Cause.BACKFILL:
            state = State.QUEUED  # behind all others, and in the way of none
        elif not skips:
            running, queued = self._open[name, node, State.RUNNING], self._open[name, node, State.QUEUED]
            if cause is not Cause.SCHEDULE:
                try:
                    check_room(name, declaration.overlap, queued, self._kept[name, node], len(event))
                except Crowded as error:
                    raise CrowdedError(str(error)) from error
            admission = admit(declaration.overlap, running, queued)
            state, reason = State(admission.state), admission.reason
            if admission.replaces:
                self._write()
                cancel(self._connection, self._jobs, _open_of(self._connection, name, node), REPLACED)
                self._open[name, node, State.QUEUED] = 0
        if state is State.QUEUED and cause is not Cause.BACKFILL:
            self._open[name, node, State.QUEUED] += 1
        ended = self.now if state.is_over else None
        event = clean(remembered(event) if state.is_over else event)
        row = (
            *(name, declaration.revision, planned, cause.value, state.value, reason),
            *(self.now, missed, event, len(event), self.now, ended, node, occasion or None),
        )
        self._unwritten.append((_job(declaration, planned, node) if state is State.QUEUED else None, cause, row))

    def made(self) -> list[Run]:
        """All of them, as they are now."""
        self._write()
        return self._made

    def _write(self) -> None:
        """In as many statements as there are runs, and in three exchanges with the server."""
        new, self._unwritten = self._unwritten, []
        planned = [job for job, cause, _ in new if job is not None and cause is Cause.SCHEDULE]
        others = [job for job, cause, _ in new if job is not None and cause is not Cause.SCHEDULE]
        claimed = iter(self._claim(planned))
        deferred = iter(self._jobs.batch_defer_jobs(others) if others else ())
        rows = []
        for job, cause, row in new:
            number = None
            if job is not None:
                number = next(claimed) if cause is Cause.SCHEDULE else next(deferred).id
                if number is None:
                    continue  # claimed, though its row is gone
            rows.append((number, *row))
        if rows:
            with self._connection.cursor() as cursor:
                cursor.executemany(_INSERT, rows, returning=True)
                for _ in rows:
                    self._made.extend(map(read_run, cursor.fetchall()))
                    cursor.nextset()

    def _claim(self, jobs: Sequence[Job]) -> list[int | None]:
        """What `JobManager.defer_periodic_job` does, which has a call for one job alone: the same, for many at once."""
        if not jobs:
            return []
        told = [
            {
                "task_name": job.task_name,
                "defer_timestamp": job.task_kwargs["timestamp"],
                "periodic_id": job.task_kwargs["periodic_id"],
                "queue": job.queue,
                "priority": job.priority,
                "lock": job.lock,
                "queueing_lock": None,
                "args": Jsonb(job.task_kwargs),
            }
            for job in jobs
        ]
        numbers: list[int | None] = []
        with self._connection.cursor() as cursor:
            cursor.executemany(queries["defer_periodic_job"], told, returning=True)
            for _ in jobs:
                numbers.append(_one(cursor)["id"])
                cursor.nextset()
        return numbers


def _job(declaration: Declaration, planned: datetime, node: str) -> Job:
    queue = queue_of(declaration.name, node)
    return Job(
        id=None,
        queue=queue,
        # Two jobs of one lock are never under way.
        lock=None if declaration.overlap == "allow" else queue,
        queueing_lock=None,
        task_name=declaration.name,
        task_kwargs={
            "timestamp": (planned - _EPOCH) // timedelta(microseconds=1),
            "periodic_id": f"{declaration.name}:{declaration.revision}{_mark(node)}",
        },
    )


def _open_of(connection: psycopg.Connection[Row], name: str, node: str) -> list[Row]:
    """Rows of runs of an automation that wait or run."""
    return connection.execute(
        "SELECT id, job_id FROM duck_run WHERE name = %s AND for_node = %s AND state IN ('queued', 'running')"
        " AND cause <> 'backfill'",
        (name, node),
    ).fetchall()


def cancel(connection: psycopg.Connection[Row], jobs: JobManager, rows: Sequence[Row], reason: str) -> int:
    """Have these runs end, or not start; how many of them were not over."""
    changed = connection.execute(
        f"UPDATE duck_run SET reason = %s, cancels = state = 'running', {_SHORT},"
        " ended = CASE state WHEN 'queued' THEN clock_timestamp() END,"
        " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END"
        " WHERE id = ANY(%s) AND state IN ('queued', 'running')",
        (reason, [row["id"] for row in rows]),
    ).rowcount
    for row in rows:
        if row["job_id"] is not None:
            jobs.cancel_job_by_id(row["job_id"], abort=True)
    return changed


@dataclass(frozen=True, slots=True)
class Startable:
    """What of the queue may start.

    Attributes:
        jobs: those that may, in order, and whether each may run beside others.
        stale: rows of those that are skipped, and why.
    """

    jobs: list[tuple[int, bool]]
    stale: list[tuple[Row, str]]


def startable(
    connection: psycopg.Connection[Row], node: str, declarations: Mapping[str, Declaration], left: dict[str, int]
) -> Startable:
    """What of these automations may start at `node`.

    Args:
        left: how many may start in each lane; is counted down.
    """
    names = list(declarations)
    now = _one(connection.execute("SELECT clock_timestamp() AS now"))["now"]
    running: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(
        "SELECT name, for_node, count(*) AS count FROM duck_run WHERE state = 'running' AND name = ANY(%s)"
        " GROUP BY name, for_node",
        (names,),
    ):
        running[row["name"], row["for_node"]] = row["count"]
    found = Startable([], [])
    for row in connection.execute(
        sql.SQL(
            "SELECT job_id, {} FROM duck_run WHERE state = 'queued' AND not_before <= %s AND for_node IN ('', %s)"
            " AND name = ANY(%s) ORDER BY cause = 'backfill', not_before, planned, id"
        ).format(COLUMNS),
        (now, node, names),
    ):
        declaration, which = declarations[row["name"]], (row["name"], row["for_node"])
        if left.get(declaration.lane, 0) <= 0:
            continue
        if reason := stale(declaration, read_run(row), now):
            found.stale.append((row, reason))
        elif may_start(declaration.overlap, running[which]):
            left[declaration.lane] -= 1
            running[which] += 1
            found.jobs.append((row["job_id"], declaration.overlap == "allow"))
    return found


def skip(connection: psycopg.Connection[Row], jobs: JobManager, found: Sequence[tuple[Row, str]]) -> list[Run]:
    """These are not run any more; as they are now."""
    skipped: list[Run] = []
    for row, reason in found:
        jobs.cancel_job_by_id(row["job_id"])
        changed = connection.execute(
            sql.SQL(
                f"UPDATE duck_run SET state = 'skipped', reason = %s, ended = clock_timestamp(), {_SHORT}"
                " WHERE id = %s RETURNING {}"
            ).format(COLUMNS),
            (reason, row["id"]),
        )
        skipped.append(read_run(_one(changed)))
    return skipped


def start(connection: psycopg.Connection[Row], node: str, worker: int, found: Sequence[tuple[int, bool]]) -> list[Run]:
    """Start these jobs, which `startable` has found; all in one go, where procrastinate has a call for each.

    Of one lock two are never under way: its index would refuse. What may run beside others has none, though it had one
    when it was queued.
    """
    jobs = [job for job, _ in found]
    connection.execute(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s,"
        " lock = CASE WHEN id = ANY(%s) THEN NULL ELSE lock END WHERE id = ANY(%s) AND status = 'todo'",
        (worker, [job for job, beside_others in found if beside_others], jobs),
    )
    rows = connection.execute(
        sql.SQL(
            "UPDATE duck_run SET state = 'running', node = %s, attempt = attempt + 1, started = clock_timestamp(),"
            " beat = clock_timestamp() WHERE job_id = ANY(%s) RETURNING job_id, {}"
        ).format(COLUMNS),
        (node, jobs),
    )
    by_job = {row["job_id"]: read_run(row) for row in rows}
    return [by_job[job] for job in jobs]


def _one(cursor: psycopg.Cursor[Row]) -> Row:
    row = cursor.fetchone()
    assert row is not None
    return row


def finish_job(jobs: JobManager, job_id: int, state: State) -> None:
    """procrastinate learns that the run of this job is over."""
    complete(jobs.finish_job_by_id_async(job_id, _STATUS.get(state, Status.FAILED), delete_job=False))


def forget_event(connection: psycopg.Connection[Row], run_id: int) -> None:
    """What a long event told, of a run that is over."""
    row = connection.execute("SELECT event FROM duck_run WHERE id = %s AND size > %s", (run_id, MOST_EVENT)).fetchone()
    if row is not None:
        connection.execute("UPDATE duck_run SET event = %s WHERE id = %s", (remembered(row["event"]), run_id))
