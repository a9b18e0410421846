"""Database: the store's tables, how they are changed in one transaction, and the clock that counts for all nodes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.models import F

from ..admission import QUEUED, RUNNING
from ..text import MOST_EVENT, remembered
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
COLUMNS = tuple(field.name for field in Run._meta.concrete_fields if field.name not in ("once", "size", "occasion"))
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
# give the connection to somebody else. The clock is read by the same statement.
_BOUNDS = (
    f"{_CLOCKS['postgresql']}, set_config('idle_in_transaction_session_timeout', '5s', true),"
    " set_config('lock_timeout', '8s', true)"
)
# Two transactions were in each other's way, and this one was undone: SQLSTATE, or MySQL's number.
_CONFLICTS = ("40001", "40P01", 1205, 1213)


class Refused(Exception):
    """A sentence on what cannot be kept in this database."""


class _Unbegun(OperationalError):
    """The connection was lost before a transaction had asked for anything."""


def retried(method: Method) -> Method:
    """Again, where two transactions were in each other's way and this one was undone, or had not even begun."""

    @functools.wraps(method)
    def wrapper(self: Database, *args: Any, **kwargs: Any) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return method(self, *args, **kwargs)
            except _Unbegun:
                if attempt or self.connection.in_atomic_block:
                    raise
                self.connection.close()
            except OperationalError as error:
                if attempt == _ATTEMPTS - 1 or self.connection.in_atomic_block or not _is_conflict(error):
                    raise
        raise AssertionError

    wrapper.begins = True  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


class Database:
    """The tables, in the database `using`; by default the one that the project's routers name. For one thread."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Run)
        # While something is answered: what the clock showed at first, and what this machine's two showed then.
        self._read: int | None = None
        self._read_at = (0.0, 0.0)
        self._shown: int | None = None  # when it was read last
        self._is_answering = False

    @property
    def connection(self) -> Any:
        """Django's connection of this thread."""
        return connections[self.using]

    def answer(self, name: str, arguments: dict[str, Any]) -> tuple[Any, int, tuple[float, float]]:
        """What the method of that name gives, what the clock showed meanwhile, and what this machine's two showed then:
        the steady one, which is the same in all of its processes, and the other.
        """
        self._read, self._is_answering = None, True
        method = getattr(self, name)
        try:
            if not hasattr(method, "begins"):
                self.now()  # which finds out whether the connection is there still, as a transaction does
            result = method(**arguments)
            now = self.now()
        finally:
            self._read, self._is_answering = None, False
        return result, now, self._read_at

    def now(self) -> int:
        """What the store's clock shows. A connection that was lost meanwhile is made anew."""
        if self._read is not None:
            return self._read
        self._seen()
        assert self._shown is not None
        return self._shown

    def _seen(self, *conditions: str) -> list[bool]:
        """Which of these some run meets, in one statement that reads the clock as well, and needs nothing of the ORM.

        Args:
            conditions: SQL on columns of a run; `{now}` stands for what the clock shows.
        """
        try:
            return self._ask_seen(conditions)
        except (OperationalError, InterfaceError):
            if self.connection.in_atomic_block:
                raise
            self.connection.close()
            return self._ask_seen(conditions)

    def _ask_seen(self, conditions: Sequence[str]) -> list[bool]:
        clock = _CLOCKS.get(self.connection.vendor)
        here = time.time_ns() // 1000
        shown = clock.removeprefix("SELECT ") if clock is not None else str(here)
        table = self.connection.ops.quote_name(Run._meta.db_table)
        found = [f"EXISTS(SELECT 1 FROM {table} WHERE {each.format(now=shown)})" for each in conditions]
        now, met = here, []
        if clock is not None or found:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join([shown, *found])}")
                now, *met = cursor.fetchone()
        self._shown = int(now)
        if self._read is None and self._is_answering:
            self._read, self._read_at = self._shown, (time.monotonic(), time.time())
        return [bool(each) for each in met]

    def _look(self) -> int:
        """What the clock shows by now, whatever it has shown before."""
        statement = _CLOCKS.get(self.connection.vendor)
        return self._ask(statement) if statement is not None else time.time_ns() // 1000

    def _ask(self, statement: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0])

    @contextlib.contextmanager
    def _change(self) -> Iterator[int]:
        """One transaction, and what the clock shows; where rows cannot be locked, no other's comes between."""
        is_postgres = self.connection.vendor == "postgresql"
        now = None if is_postgres else self.now()
        with transaction.atomic(using=self.using):
            if is_postgres:
                now = self._begin()
            elif not self.connection.features.has_select_for_update:
                # It changes nothing, and has the write lock: a transaction that has read before it writes could not
                # get it any more, once another has written.
                self._named([""]).update(since=F("since"))
            assert now is not None
            yield now

    def _begin(self) -> int:
        try:
            now = self._ask(_BOUNDS)
        except (OperationalError, InterfaceError) as error:
            raise _Unbegun(*error.args) from error
        if self._read is None and self._is_answering:
            self._read, self._read_at = now, (time.monotonic(), time.time())
        return self._read if self._read is not None else now

    def _lock(self, rows: QuerySet[Any], *, skips: bool = False) -> QuerySet[Any]:
        """The same rows, for this transaction alone; those that another has are waited for, or passed over."""
        features = self.connection.features
        if not features.has_select_for_update:
            return rows
        return rows.select_for_update(skip_locked=skips and features.has_select_for_update_skip_locked)

    def _cancel(self, which: Q, now: int, reason: str) -> int:
        """Have runs end, or not start; how many. Each is locked first: it may begin, or be queued again, meanwhile."""
        rows = self._lock(self._runs().filter(which, state__in=OPEN).order_by("id"))
        found = list(rows.values_list("id", "state"))
        queued = [run_id for run_id, state in found if state == QUEUED]
        running = [run_id for run_id, state in found if state == RUNNING]
        for part in parts(queued):
            self._runs().filter(id__in=part).update(state=CANCELLED, reason=reason, ended=now)
            self._forget_events(part)
        for part in parts(running):
            self._runs().filter(id__in=part).update(cancels=True, reason=reason)
        return len(found)

    def _forget_events(self, runs: Sequence[int]) -> None:
        """What long events told, of runs that are over."""
        for run_id, event in self._runs().filter(id__in=runs, size__gt=MOST_EVENT).values_list("id", "event"):
            self._runs().filter(id=run_id).update(event=remembered(event))

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


def digest_of(key: str) -> str:
    """Of a text of any length; equal for equal ones alone."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


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
