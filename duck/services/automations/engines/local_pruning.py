"""What the SQLite file forgets: runs that are over, what was said once, and nodes that have gone."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from duck.services.automations.engine import KEPT_NODE, KEPT_TOLD
from duck.services.automations.engines.local_rows import number

# Others wait for the file meanwhile: what is left goes the next time.
_AT_ONCE: Final = 20_000
# The latest run of each automation that is not among so many of its latest.
_BEYOND: Final = "(SELECT id FROM run WHERE run.name = known.name ORDER BY id DESC LIMIT 1 OFFSET {})"
_LONG: Final = (
    f"SELECT name, old, CASE WHEN old IS NOT NULL THEN {_BEYOND.format('?2')} END AS much FROM"
    f" (SELECT name, {_BEYOND.format('?1')} AS old FROM (SELECT DISTINCT name FROM run) AS known) AS known"
)


def prune(db: sqlite3.Connection, now: datetime, keep: int, keep_s: float, most: int) -> int:
    """Within one transaction; see `Engine.prune`."""
    db.execute("DELETE FROM told WHERE at < ?", (number(now - KEPT_TOLD),))
    db.execute("DELETE FROM node WHERE beat < ?", (number(now - KEPT_NODE),))
    before, pruned = number(now - timedelta(seconds=keep_s)), 0
    for row in db.execute(_LONG, (keep, max(keep, most))).fetchall():
        if row["old"] is not None and pruned < _AT_ONCE:
            pruned += db.execute(
                "DELETE FROM run WHERE id IN ("
                " SELECT id FROM run LEFT JOIN automation ON automation.name = run.name"
                " WHERE run.name = ?1 AND id <= ?2 AND state NOT IN ('queued', 'running')"
                "  AND (ended < ?3 OR id <= ?4)"
                # Of a planned time that may come again, the row decides.
                "  AND (cause NOT IN ('schedule', 'backfill') OR automation.name IS NULL"
                "   OR planned <= ?5 AND (for_node != '' OR planned <= since AND since <= ?5))"
                " ORDER BY id LIMIT ?6)",
                (row["name"], row["old"], before, row["much"], number(now), _AT_ONCE - pruned),
            ).rowcount
    return pruned
