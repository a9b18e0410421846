"""Stores of automations, one of each engine, for tests that ask all of them the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duck.services.automations.declaration import Declaration, read_declaration
from duck.services.automations.due import Due
from duck.services.automations.engines.local import LocalEngine
from duck.services.automations.engines.postgres import PostgresEngine

if TYPE_CHECKING:
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run
    from tests.automation_project import KeptStore
    from tests.postgres import Postgres

ENGINES = ["local", "django on sqlite", "django on postgres", "postgres"]

# What has to be told of a run, and what it is in a row that nobody made by the engine.
_ROW = {
    "revision": "'r'",
    "cause": "'event'",
    "reason": "''",
    "attempt": "0",
    "missed": "0",
    "event": "''",
    "node": "''",
    "output": "''",
    "for_node": "''",
    "printed": "0",
}


class Open:
    """Opens engines on one store, one for each node.

    Args:
        ask: has the store's database carry out a statement, by whatever driver; what it gives.
        table: of runs.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        ask: Callable[[str], list[tuple[Any, ...]]],
        table: str = "run",
        *,
        is_postgres: bool = False,
        has_dates: bool = False,
    ) -> None:
        self.make = make
        self.ask = ask
        self.table = table
        self._is_postgres = is_postgres
        self._has_dates = has_dates
        self._opened: list[Engine] = []

    def __call__(self) -> Engine:
        self._opened.append(self.make())
        return self._opened[-1]

    def close(self) -> None:
        for engine in self._opened:
            engine.close()

    def fill(self, name: str, count: int, *, size: int = 0, state: str = "queued") -> None:
        """Have so many runs of events wait, each of which was told so many bytes (that are not there)."""
        moment = "now()" if self._has_dates else "0"
        columns = {**_ROW, "name": f"'{name}'", "state": f"'{state}'", "size": str(size)}
        columns |= {"planned": moment, "not_before": moment, "created": moment}
        columns |= {"cancels": "false" if self._is_postgres else "0"}
        numbers = f"generate_series(1, {count}) AS number"
        if not self._is_postgres:
            numbers = (
                f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
            )
        chosen = ", ".join(columns.values())
        self.ask(f"INSERT INTO {self.table} ({', '.join(columns)}) SELECT {chosen} FROM {numbers}")

    def count(self) -> int:
        """How many runs it has."""
        found: int = self.ask(f"SELECT count(*) FROM {self.table}")[0][0]
        return found


def _in_sqlite(path: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    def ask(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
            return database.execute(statement).fetchall()

    return ask


def _in_postgres(url: str) -> Callable[[str], list[tuple[Any, ...]]]:
    import psycopg

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return ask


@contextmanager
def local_store(directory: Path) -> Iterator[Open]:
    """A SQLite file."""
    path = directory / "automations.sqlite3"
    opens = Open(lambda: LocalEngine(path), _in_sqlite(path))
    yield opens
    opens.close()


@contextmanager
def postgres_store(server: Postgres) -> Iterator[Open]:
    """A database of its own."""
    url = server.url(server.make_database())
    table = "duck_automations.duck_run"
    opens = Open(lambda: PostgresEngine(lambda: url), _in_postgres(url), table, is_postgres=True, has_dates=True)
    yield opens
    opens.close()


@contextmanager
def django_store(kept: KeptStore) -> Iterator[Open]:
    """A project's database, whose processes go on."""
    kept.begin()
    ask = _in_postgres(kept.url) if kept.url else _in_sqlite(kept.root / "db.sqlite3")
    opens = Open(kept.open, ask, "duck_automations_run", is_postgres=bool(kept.url))
    yield opens
    opens.close()


def declared(name: str = "job", **table: Any) -> Declaration:
    return read_declaration(name, {"command": "x", "every": "1h", **table}, "duck.toml", ZoneInfo("UTC"))


def soon(number: int = 1) -> datetime:
    """Planned times later than now, which any clock may claim in these tests."""
    return datetime.now(UTC) + timedelta(minutes=number)


def take(engine: Engine, node: str, *declarations: Declaration, room: int = 10) -> list[Run]:
    return engine.take(node, {each.name: each for each in declarations}, {"process": room})


def started(engine: Engine, declaration: Declaration, planned: datetime, node: str = "a") -> Run:
    engine.claim([(declaration, Due(planned, True))])
    (run,) = take(engine, node, declaration)
    return run
