"""Executions: attempts at runs that somebody else than a node carries out, such as a Celery worker.

Whoever inserts the row of an attempt has begun it; every other delivery of the same message comes too late. Its worker
adds to `beats` while it goes on: who watches it needs to know nothing of the worker's clock, only whether that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from ..admission import QUEUED, RUNNING
from ..text import clean
from .database import OPEN
from .models import Execution, Run
from .store import Store

# Of an attempt that its worker has put off, and will begin again: a retry of Celery's own.
WAITING = "waiting"
GOES_ON = (RUNNING, WAITING)

# A run, and which attempt at it.
Key = tuple[int, int]

_CHUNK = 200
_TEXT = 255


class Executions:
    """The rows, in the store's database. For one thread."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    # -- for workers ------------------------------------------------------------------------------------------------

    def begin(self, key: Key, task: str, worker: str) -> bool:
        """Whether this attempt is to be carried out by who asks: nobody has begun it, and it is wanted still."""
        run, attempt = key
        if self._rows([key]).filter(state=WAITING).update(state=RUNNING, waits_s=0.0, worker=worker[:_TEXT]):
            return True
        now = self._store.now()
        try:
            with transaction.atomic(using=self._store.using):
                if not self._runs().filter(id=run, attempt=attempt, state=RUNNING, cancels=False).exists():
                    return False
                self._all().create(
                    run_id=run, attempt=attempt, task=task[:_TEXT], worker=worker[:_TEXT], begun=now, state=RUNNING
                )
        except IntegrityError:
            return False
        return True

    def beat(self, keys: Sequence[Key]) -> set[Key]:
        """These go on; those of them that are to end."""
        end: set[Key] = set()
        for part in _parts(keys):
            self._rows(part).update(beats=F("beats") + 1)
            end |= set(part) - self._wanted(part)
        return end

    def wait(self, key: Key, seconds: float) -> None:
        """This one is put off for so long."""
        self._rows([key]).filter(state=RUNNING).update(state=WAITING, waits_s=seconds, beats=F("beats") + 1)

    def print(self, key: Key, output: str, printed: int) -> None:
        """This one has printed so many characters until now, of which `output` is the end."""
        run, attempt = key
        self._runs().filter(id=run, attempt=attempt, state=RUNNING).update(output=clean(output), printed=printed)

    def end(self, key: Key, state: str, reason: str, output: str, printed: int = 0) -> None:
        """This one ended so."""
        self.print(key, output, printed)
        values = {"state": state, "reason": clean(reason), "output": clean(output)}
        self._rows([key]).filter(state__in=GOES_ON).update(**values)

    # -- for who watches them ---------------------------------------------------------------------------------------

    def look(self, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
        """State, beats, worker and time of waiting of those that were begun."""
        found: dict[Key, dict[str, Any]] = {}
        for part in _parts(keys):
            for row in self._rows(part).values("run_id", "attempt", "state", "beats", "worker", "waits_s"):
                found[row["run_id"], row["attempt"]] = row
        return found

    def told(self, keys: Sequence[Key]) -> dict[Key, tuple[str, str, int]]:
        """Reason, the end of the output, and how many characters were printed in all, of each."""
        found: dict[Key, tuple[str, str, int]] = {}
        columns = ("run_id", "attempt", "reason", "output", "run__printed")
        for part in _parts(keys):
            for run, attempt, reason, output, printed in self._rows(part).values_list(*columns):
                # A run that is between two nodes is told of nothing.
                found[run, attempt] = (reason, output, max(printed, len(output)))
        return found

    def is_wanted(self, key: Key) -> bool:
        """Whether the run goes on by this attempt, as far as everybody else is concerned."""
        return key in self._wanted([key])

    # -- below ------------------------------------------------------------------------------------------------------

    def _wanted(self, keys: Sequence[Key]) -> set[Key]:
        attempts = dict(keys)
        rows = self._runs().filter(id__in=list(attempts), state__in=OPEN, cancels=False)
        found = set()
        for run, state, attempt in rows.values_list("id", "state", "attempt"):
            # One that waits for another node to watch it is taken as the same attempt again.
            if attempts[run] == (attempt + 1 if state == QUEUED else attempt):
                found.add((run, attempts[run]))
        return found

    def _rows(self, keys: Sequence[Key]) -> QuerySet[Execution]:
        which = Q(pk__in=[])
        for attempt in sorted({attempt for _, attempt in keys}):
            which |= Q(attempt=attempt, run_id__in=[run for run, each in keys if each == attempt])
        return self._all().filter(which)

    def _all(self) -> QuerySet[Execution]:
        return Execution._default_manager.using(self._store.using)

    def _runs(self) -> QuerySet[Run]:
        return Run._default_manager.using(self._store.using)


def _parts(keys: Sequence[Key]) -> Iterable[Sequence[Key]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
