"""What the tables of a `LocalEngine` are, and how a row of any store is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from duck.services.automations.engine import Node
from duck.services.automations.run import Cause, Run, State

Row = sqlite3.Row | Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# Moments are whole microseconds since 1970-01-01 in UTC.
SCHEMA: Final = (
    """
    CREATE TABLE automation (
        name TEXT PRIMARY KEY,
        revision TEXT NOT NULL,
        since INTEGER NOT NULL,
        paused_until INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX automation_paused ON automation (name) WHERE paused_until IS NOT NULL;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        revision TEXT NOT NULL,
        planned INTEGER NOT NULL,
        cause TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        attempt INTEGER NOT NULL DEFAULT 0,
        not_before INTEGER NOT NULL,
        missed INTEGER NOT NULL DEFAULT 0,
        event TEXT NOT NULL DEFAULT '',
        node TEXT NOT NULL DEFAULT '',
        created INTEGER NOT NULL,
        started INTEGER,
        beat INTEGER,
        ended INTEGER,
        code INTEGER,
        output TEXT NOT NULL DEFAULT '',
        cancels INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX run_planned ON run (name, revision, planned) WHERE cause = 'schedule';
    CREATE INDEX run_open ON run (name, state) WHERE state IN ('queued', 'running');
    CREATE INDEX run_of_name ON run (name, id);
    """,
    """
    ALTER TABLE run ADD COLUMN for_node TEXT NOT NULL DEFAULT '';
    DROP INDEX run_planned;
    CREATE UNIQUE INDEX run_planned ON run (name, revision, planned, for_node) WHERE cause = 'schedule';
    CREATE TABLE node (name TEXT PRIMARY KEY, beat INTEGER NOT NULL) WITHOUT ROWID;
    DROP INDEX run_open;
    CREATE INDEX run_queued ON run (name) WHERE state = 'queued';
    CREATE INDEX run_running ON run (name) WHERE state = 'running'
    """,
    """
    ALTER TABLE node ADD COLUMN ahead_s REAL NOT NULL DEFAULT 0;
    ALTER TABLE node ADD COLUMN takes_each INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE run ADD COLUMN printed INTEGER NOT NULL DEFAULT 0;
    CREATE UNIQUE INDEX run_backfilled ON run (name, revision, planned) WHERE cause = 'backfill';
    CREATE TABLE told (key TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID
    """,
    # How many bytes `event` has; the index has all that is asked of what waits, for rows may be long.
    """
    ALTER TABLE run ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
    DROP INDEX run_queued;
    CREATE INDEX run_queued ON run (name, for_node, cause, size, not_before, planned, attempt)
        WHERE state = 'queued'
    """,
    # What it was queued for, once; null for what may be queued any number of times.
    """
    ALTER TABLE run ADD COLUMN occasion TEXT;
    CREATE UNIQUE INDEX run_occasion ON run (name, for_node, occasion) WHERE occasion IS NOT NULL
    """,
)


def number(moment: datetime) -> int:
    """A moment, as it is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """The moment of a stored number, in UTC."""
    return _EPOCH + number * _MICROSECOND


def maybe(number: int | None) -> datetime | None:
    """The same, where there may be none."""
    return None if number is None else moment(number)


def node_of(row: Row) -> Node:
    """The node of a whole row."""
    return Node(row["name"], moment(row["beat"]), row["ahead_s"], bool(row["takes_each"]))


def run_of(row: Row) -> Run:
    """The run of a whole row."""
    return Run(
        id=row["id"],
        name=row["name"],
        revision=row["revision"],
        planned=moment(row["planned"]),
        cause=Cause(row["cause"]),
        state=State(row["state"]),
        reason=row["reason"],
        attempt=row["attempt"],
        not_before=moment(row["not_before"]),
        missed=row["missed"],
        event=row["event"],
        node=row["node"],
        created=moment(row["created"]),
        started=maybe(row["started"]),
        beat=maybe(row["beat"]),
        ended=maybe(row["ended"]),
        code=row["code"],
        output=row["output"],
        cancels=bool(row["cancels"]),
        for_node=row["for_node"],
        printed=row["printed"],
    )
