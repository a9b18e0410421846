"""What becomes in PostgreSQL of runs whose nodes have fallen silent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from duck.services.automations.engines.postgres_runs import COLUMNS, finish_job, forget_event, hold, read_run
from duck.services.automations.run import Run, State
from duck.services.automations.silence import Silent, after_silence

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engines.postgres_database import Database

# Runs of nodes that have been silent for so many seconds, and what waits for one of these alone.
_SILENT: Final = (
    "(state = 'running' AND beat < clock_timestamp() - make_interval(secs => %s)"
    " OR state = 'queued' AND for_node <> '' AND NOT EXISTS (SELECT 1 FROM duck_node WHERE duck_node.name = for_node"
    " AND duck_node.beat >= clock_timestamp() - make_interval(secs => %s)))"
)


def give_up(database: Database, silent_s: float, declarations: Mapping[str, Declaration]) -> list[Run]:
    """See `Engine.give_up`."""
    found = database.rows(f"SELECT DISTINCT name FROM duck_run WHERE {_SILENT}", silent_s, silent_s)
    names = [row["name"] for row in found]
    if not names:
        return []
    with database.change() as (connection, jobs):
        hold(connection, names)
        rows = connection.execute(
            "SELECT id, job_id, name, node, for_node, attempt, cancels, clock_timestamp() AS now FROM duck_run"
            f" WHERE {_SILENT} AND name = ANY(%s) ORDER BY id FOR UPDATE",
            (silent_s, silent_s, names),
        ).fetchall()
        for row in rows:
            wait_s, reason = after_silence(Silent.of(row), declarations)
            if wait_s is not None:
                at = row["now"] + timedelta(seconds=wait_s)
                jobs.retry_job_by_id(row["job_id"], at)
                connection.execute(
                    "UPDATE duck_run SET state = 'queued', node = '', reason = %s, not_before = %s WHERE id = %s",
                    (reason, at, row["id"]),
                )
            else:
                finish_job(jobs, row["job_id"], State.LOST)
                connection.execute(
                    "UPDATE duck_run SET state = 'lost', reason = %s, ended = %s WHERE id = %s",
                    (reason, row["now"], row["id"]),
                )
                forget_event(connection, row["id"])
        given_up = connection.execute(
            sql.SQL("SELECT {} FROM duck_run WHERE id = ANY(%s) ORDER BY id").format(COLUMNS),
            ([row["id"] for row in rows],),
        )
        return [read_run(row) for row in given_up]
