"""What PostgreSQL forgets: runs that are over, with their jobs, and nodes that have gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from duck.services.automations.engine import KEPT_NODE, KEPT_TOLD
from duck.services.automations.engines.postgres_database import complete

if TYPE_CHECKING:
    from duck.services.automations.engines.postgres_database import Database

_AT_ONCE: Final = 2000
# A dispatcher waits for it: what is left by then goes the next time.
_MOST_S: Final = 2.0


def prune(database: Database, keep: int, keep_s: float) -> int:
    """Forget runs older than so many seconds, beyond the latest `keep` of each automation; how many."""
    with database.change() as (connection, jobs):
        complete(jobs.prune_stalled_workers(KEPT_NODE.total_seconds()))
        connection.execute("DELETE FROM duck_node WHERE beat < clock_timestamp() - %s", (KEPT_NODE,))
        connection.execute("DELETE FROM duck_told WHERE at < clock_timestamp() - %s", (KEPT_TOLD,))
    latest = database.rows(
        "SELECT name, (SELECT id FROM duck_run WHERE duck_run.name = known.name ORDER BY id DESC OFFSET %s LIMIT 1)"
        " AS id FROM duck_automation AS known",
        keep,
    )
    older = [(row["name"], row["id"]) for row in latest if row["id"] is not None]
    names, ids = [name for name, _ in older], [number for _, number in older]
    pruned, deadline = 0, time.monotonic() + _MOST_S
    while True:
        with database.change() as (connection, _):
            gone = connection.execute(
                "DELETE FROM duck_run WHERE id IN (SELECT duck_run.id FROM duck_run"
                "  JOIN unnest(%s::text[], %s::bigint[]) AS older (name, id)"
                "  ON duck_run.name = older.name AND duck_run.id <= older.id"
                "  WHERE state NOT IN ('queued', 'running') AND ended < clock_timestamp() - make_interval(secs => %s)"
                "  LIMIT %s) RETURNING job_id",
                (names, ids, keep_s, _AT_ONCE),
            ).fetchall()
            # procrastinate deletes by age alone.
            connection.execute("DELETE FROM procrastinate_jobs WHERE id = ANY(%s)", ([row["job_id"] for row in gone],))
        pruned += len(gone)
        if len(gone) < _AT_ONCE or time.monotonic() > deadline:
            return pruned
