"""Database: the store's tables, how they are changed in one transaction, and the clock that counts for all nodes."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.models import F

from ..admission import QUEUED, RUNNING
from .models import Automation, Node, Run

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

Method = TypeVar("Method", bound=Callable[..., Any])

OPEN = (QUEUED, RUNNING)
SCHEDULE = "schedule"
BACKFILL = "backfill"
SUCCEEDED = "succeeded"
HAND = "hand"
CANCELLED = "cancelled"
LOST = "lost"

# As `duck.services.automations.engines.local_rows` reads them.
COLUMNS = tuple(field.name for field in Run._meta.concrete_fields if field.name != "once")
# How many names or numbers one statement holds.
CHUNK = 500
_ATTEMPTS = 3
# What the server's clock shows, in microseconds since 1970; machines differ, and one database has one clock. SQLite's
# is this machine's.
_CLOCKS = {
    "postgresql": "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",
}
# A node that stands still within a transaction must not hold the others up; of this transaction alone, since a pool may
# give the connection to somebody else.
_BOUNDS = "SELECT set_config('idle_in_transaction_session_timeout', '5s', true), set_config('lock_timeout', '8s', true)"
# Two transactions were in each other's way, and this one was undone: SQLSTATE, or MySQL's number.
_CONFLICTS = ("40001", "40P01", 1205, 1213)


class Refused(Exception):
    """A sentence on what cannot be kept in this database."""


def retried(method: Method) -> Method:
    """Again, where two transactions were in each other's way and this one was undone."""

    @functools.wraps(method)
    def wrapper(self: Database, *args: Any, **kwargs: Any) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return method(self, *args, **kwargs)
            except OperationalError as error:
                if attempt == _ATTEMPTS - 1 or self.connection.in_atomic_block or not _is_conflict(error):
                    raise
        raise AssertionError

    return wrapper  # type: ignore[return-value]


class Database:
    """The tables, in the database `using`; by default the one that the project's routers name. For one thread."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Run)
        self._read: int | None = None

    @property
    def connection(self) -> Any:
        """Django's connection of this thread."""
        return connections[self.using]

    def answer(self, name: str, arguments: dict[str, Any]) -> tuple[Any, int, float]:
        """What the method of that name gives, what the clock showed at first, and how many seconds ago that was."""
        self._read = None
        self._read, began = self.now(), time.monotonic()
        try:
            result = getattr(self, name)(**arguments)
        finally:
            now, self._read = self._read, None
        return result, now, time.monotonic() - began

    def now(self) -> int:
        """What the store's clock shows. A connection that was lost meanwhile is made anew."""
        if self._read is not None:
            return self._read
        statement = _CLOCKS.get(self.connection.vendor)
        if statement is None:
            return time.time_ns() // 1000
        try:
            return self._ask(statement)
        except (OperationalError, InterfaceError):
            if self.connection.in_atomic_block:
                raise
            self.connection.close()
            return self._ask(statement)

    def _ask(self, statement: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction; where rows cannot be locked, no other's comes between."""
        with transaction.atomic(using=self.using):
            if not self.connection.features.has_select_for_update:
                # It changes nothing, and has the write lock: a transaction that has read before it writes could not
                # get it any more, once another has written.
                self._named([""]).update(since=F("since"))
            elif self.connection.vendor == "postgresql":
                with self.connection.cursor() as cursor:
                    cursor.execute(_BOUNDS)
            yield

    def _lock(self, rows: QuerySet[Any], *, skips: bool = False) -> QuerySet[Any]:
        """The same rows, for this transaction alone; those that another has are waited for, or passed over."""
        features = self.connection.features
        if not features.has_select_for_update:
            return rows
        return rows.select_for_update(skip_locked=skips and features.has_select_for_update_skip_locked)

    def _cancel(self, which: Q, now: int, reason: str) -> int:
        queued = self._runs().filter(which, state=QUEUED).update(state=CANCELLED, reason=reason, ended=now)
        return queued + self._runs().filter(which, state=RUNNING).update(cancels=True, reason=reason)

    def _there(self, silent_s: float) -> QuerySet[Node]:
        return self._nodes().filter(beat__gte=self.now() - round(silent_s * 1e6))

    def standings(self) -> dict[str, list[Any]]:
        """Revision, since and paused_until of each automation."""
        rows = self._automations().values_list("name", "revision", "since", "paused_until")
        return {name: list(rest) for name, *rest in rows}

    def _automations(self) -> QuerySet[Automation]:
        return Automation._default_manager.using(self.using)

    def _named(self, names: Sequence[str]) -> QuerySet[Automation]:
        return self._automations().filter(name__in=names).order_by("name")

    def _runs(self) -> QuerySet[Run]:
        return Run._default_manager.using(self.using)

    def _nodes(self) -> QuerySet[Node]:
        return Node._default_manager.using(self.using)


def values_of(run: Run) -> dict[str, Any]:
    """The columns of a row that was just made."""
    return {column: getattr(run, column) for column in COLUMNS}


def parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def _is_conflict(error: Exception) -> bool:
    cause = error.__cause__
    told = (
        getattr(cause, "sqlstate", None)
        or getattr(cause, "pgcode", None)
        or (getattr(cause, "args", None) or [None])[0]
    )
    return told in _CONFLICTS
