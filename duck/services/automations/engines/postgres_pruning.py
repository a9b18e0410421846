"""What PostgreSQL forgets: runs that are over, with their jobs, and nodes that have gone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, LiteralString

from duck.services.automations.engine import KEPT_NODE, KEPT_TOLD
from duck.services.automations.engines.postgres_database import complete

if TYPE_CHECKING:
    from duck.services.automations.engines.postgres_database import Database

_AT_ONCE: Final = 2000
# A dispatcher waits for it: what is left by then goes the next time.
_MOST_S: Final = 2.0


def prune(database: Database, keep: int, keep_s: float, most: int) -> int:
    """See `Engine.prune`."""
    with database.change() as (connection, jobs):
        complete(jobs.prune_stalled_workers(KEPT_NODE.total_seconds()))
        connection.execute("DELETE FROM duck_node WHERE beat < clock_timestamp() - %s", (KEPT_NODE,))
        connection.execute("DELETE FROM duck_told WHERE at < clock_timestamp() - %s", (KEPT_TOLD,))
    # The latest run of each that is not kept for being among the latest, and so the latest that is too much.
    place: LiteralString = (
        "(SELECT id FROM duck_run WHERE duck_run.name = known.name ORDER BY id DESC OFFSET %s LIMIT 1)"
    )
    latest = database.rows(
        f"SELECT name, {place} AS old, {place} AS much FROM duck_automation AS known", keep, max(keep, most)
    )
    older = [(row["name"], row["old"], row["much"] or 0) for row in latest if row["old"] is not None]
    columns = ([each[place] for each in older] for place in range(3))
    names, old, much = columns
    pruned, deadline = 0, time.monotonic() + _MOST_S
    while True:
        with database.change() as (connection, _):
            gone = connection.execute(
                "DELETE FROM duck_run WHERE id IN (SELECT duck_run.id FROM duck_run"
                "  JOIN unnest(%s::text[], %s::bigint[], %s::bigint[]) AS older (name, old, much)"
                "   ON duck_run.name = older.name AND duck_run.id <= older.old"
                "  JOIN duck_automation ON duck_automation.name = duck_run.name"
                "  WHERE state NOT IN ('queued', 'running')"
                "   AND (ended < clock_timestamp() - make_interval(secs => %s) OR duck_run.id <= older.much)"
                # Of a planned time that may come again, the row decides.
                "   AND (cause NOT IN ('schedule', 'backfill') OR planned <= clock_timestamp()"
                "    AND (for_node <> '' OR planned <= since AND since <= clock_timestamp()))"
                "  LIMIT %s) RETURNING job_id",
                (names, old, much, keep_s, _AT_ONCE),
            ).fetchall()
            # procrastinate deletes by age alone.
            connection.execute("DELETE FROM procrastinate_jobs WHERE id = ANY(%s)", ([row["job_id"] for row in gone],))
        pruned += len(gone)
        if len(gone) < _AT_ONCE or time.monotonic() > deadline:
            return pruned
