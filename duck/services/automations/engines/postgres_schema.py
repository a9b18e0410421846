"""The tables in PostgreSQL: procrastinate's, and beside them what it has no place for; made when they are first needed.

All lie in a schema of their own, so that a project which uses procrastinate itself keeps its tables to itself. Nodes
that are started at once are kept in order by an advisory lock.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

from duck.exceptions import StoreError

SCHEMA: Final = "duck_automations"
_LOCK: Final = 0x6475636B  # "duck"
# To make or change tables may take longer than what a dispatcher waits for.
_PREPARE_S: Final = 60

# What a run is besides a job. A run that was skipped is no job; a job has no planned time, cause, output or node.
_TABLES: Final[tuple[LiteralString, ...]] = (
    """
    CREATE TABLE duck_automation (
        name text PRIMARY KEY,
        revision text NOT NULL,
        since timestamptz NOT NULL,
        paused_until timestamptz
    );
    CREATE INDEX duck_automation_paused ON duck_automation (name) WHERE paused_until IS NOT NULL;
    CREATE TABLE duck_run (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job_id bigint UNIQUE REFERENCES procrastinate_jobs (id) ON DELETE SET NULL,
        name text NOT NULL,
        revision text NOT NULL,
        planned timestamptz NOT NULL,
        cause text NOT NULL,
        state text NOT NULL,
        reason text NOT NULL DEFAULT '',
        attempt integer NOT NULL DEFAULT 0,
        not_before timestamptz NOT NULL,
        missed integer NOT NULL DEFAULT 0,
        event text NOT NULL DEFAULT '',
        node text NOT NULL DEFAULT '',
        created timestamptz NOT NULL,
        started timestamptz,
        beat timestamptz,
        ended timestamptz,
        code integer,
        output text NOT NULL DEFAULT '',
        cancels boolean NOT NULL DEFAULT false,
        for_node text NOT NULL DEFAULT '',
        printed bigint NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX duck_run_planned ON duck_run (name, revision, planned, for_node) WHERE cause = 'schedule';
    CREATE INDEX duck_run_open ON duck_run (name, state) WHERE state IN ('queued', 'running');
    CREATE INDEX duck_run_of_name ON duck_run (name, id);
    CREATE UNIQUE INDEX duck_run_backfilled ON duck_run (name, revision, planned) WHERE cause = 'backfill';
    CREATE TABLE duck_node (
        name text PRIMARY KEY,
        beat timestamptz NOT NULL,
        ahead_s double precision NOT NULL,
        takes_each boolean NOT NULL
    );
    CREATE TABLE duck_told (key text PRIMARY KEY, at timestamptz NOT NULL);
    """,
    # How many bytes `event` has.
    """
    ALTER TABLE duck_run ADD COLUMN size integer NOT NULL DEFAULT 0;
    CREATE INDEX duck_run_queued ON duck_run (name, for_node, cause, size) WHERE state = 'queued';
    """,
    # What it was queued for, once; null for what may be queued any number of times.
    """
    ALTER TABLE duck_run ADD COLUMN occasion text;
    CREATE UNIQUE INDEX duck_run_occasion ON duck_run (name, for_node, occasion) WHERE occasion IS NOT NULL;
    """,
)


def prepare(connection: psycopg.Connection[dict[str, Any]]) -> None:
    """Make the tables, or bring them to this version; nothing is done where they are.

    Raises:
        psycopg.Error: the database refuses, as where the role may not make a schema.
        StoreError: they were made by a newer Duck, or a newer procrastinate.
    """
    known = migrations()
    if _is_current(connection, known):
        return
    connection.execute("BEGIN")
    try:
        for name in ("lock_timeout", "statement_timeout"):
            connection.execute("SELECT set_config(%s, %s, true)", (name, str(_PREPARE_S * 1000)))
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if not _is_current(connection, known):
            _change(connection, known)
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def migrations() -> tuple[str, ...]:
    """The names of procrastinate's changes to its tables, in the order in which they are made."""
    return tuple(sorted(path.name for path in _migration_paths()))


def _migration_paths() -> list[Any]:
    from procrastinate.schema import migrations_path

    return [path for path in migrations_path.iterdir() if path.name.endswith(".sql")]


def _is_current(connection: psycopg.Connection[dict[str, Any]], known: tuple[str, ...]) -> bool:
    found = _stored(connection)
    if found is None:
        return False
    version, applied = found
    if version > len(_TABLES):
        raise StoreError("The store of automations was made by a newer Duck; start that one, or give another database.")
    newer = sorted(applied - set(known))
    if newer:
        raise StoreError(
            f"The store of automations was made with a newer procrastinate, which has {newer[-1]}; install that one."
        )
    return version == len(_TABLES) and applied == set(known)


def _stored(connection: psycopg.Connection[dict[str, Any]]) -> tuple[int, set[str]] | None:
    """The version of Duck's tables and the names of procrastinate's changes; None where there are no tables."""
    # As the catalogue has it: what a session knows of its search path may be older than a lock that it has waited for.
    there = connection.execute(
        "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'duck_store'", (SCHEMA,)
    ).fetchone()
    if there is None:
        return None
    row = connection.execute(
        sql.SQL("SELECT version, procrastinate FROM {}.duck_store").format(sql.Identifier(SCHEMA))
    ).fetchone()
    return (row["version"], set(row["procrastinate"])) if row is not None else None


def _change(connection: psycopg.Connection[dict[str, Any]], known: tuple[str, ...]) -> None:
    found = _stored(connection)
    if found is None:
        version = 0
        try:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"The store of automations cannot be made: {error.diag.message_primary}; let the role make it:"
                f" GRANT CREATE ON DATABASE {connection.info.dbname} TO {connection.info.user}."
            ) from error
        connection.execute("CREATE TABLE duck_store (version integer NOT NULL, procrastinate text[] NOT NULL)")
        connection.execute("INSERT INTO duck_store VALUES (0, '{}')")
        connection.execute(_trusted(SchemaManager.get_schema()))
    else:
        version, applied = found
        for path in sorted(_migration_paths(), key=lambda path: str(path.name)):
            if path.name not in applied:
                connection.execute(_trusted(path.read_text("utf-8")))
    for statements in _TABLES[version:]:
        connection.execute(statements)
    connection.execute("UPDATE duck_store SET version = %s, procrastinate = %s", (len(_TABLES), list(known)))


def _trusted(text: str) -> sql.SQL:
    """SQL that procrastinate brings."""
    return sql.SQL(text)
