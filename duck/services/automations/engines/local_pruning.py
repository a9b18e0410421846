"""What the SQLite file forgets: runs that are over, what was said once, and nodes that have gone."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from typing import Final

from duck.services.automations.engine import KEPT_NODE, KEPT_TOLD
from duck.services.automations.engines.local_rows import number

# Others wait for the file meanwhile: what is left goes the next time.
_AT_ONCE: Final = 20_000


def prune(db: sqlite3.Connection, now: datetime, keep: int, keep_s: float, most: int) -> int:
    """Within one transaction; see `Engine.prune`."""
    db.execute("DELETE FROM told WHERE at < ?", (number(now - KEPT_TOLD),))
    db.execute("DELETE FROM node WHERE beat < ?", (number(now - KEPT_NODE),))
    gone = db.execute(
        "DELETE FROM run WHERE id IN ("
        " SELECT run.id FROM (SELECT id, row_number() OVER (PARTITION BY name ORDER BY id DESC) AS place FROM run)"
        "  AS placed JOIN run ON run.id = placed.id LEFT JOIN automation ON automation.name = run.name"
        " WHERE state NOT IN ('queued', 'running') AND place > ?1 AND (ended < ?2 OR place > ?3)"
        # Of a planned time that may come again, the row decides.
        "  AND (cause NOT IN ('schedule', 'backfill') OR automation.name IS NULL"
        "   OR planned <= ?4 AND (for_node != '' OR planned <= since AND since <= ?4))"
        " LIMIT ?5)",
        (keep, number(now - timedelta(seconds=keep_s)), most, number(now), _AT_ONCE),
    )
    return gone.rowcount
