"""Store: what an engine asks of the project's database, through the ORM. Plain values in, plain values out.

A planned time is a unique row: whoever inserts it has claimed it, all others have lost it. Decisions on one automation
are made while its row is locked; what is free to be taken by anybody is passed over where another has locked it. SQLite
has no such locks: there each change begins by a write, which lets one connection change at a time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from ..admission import BACKFILLED, QUEUED, REPLACED, RUNNING, SKIPPED, admit, missed_beyond
from .models import FOREVER, Automation, Node, Run, Told

_F = TypeVar("_F", bound=Callable[..., Any])

OPEN = (QUEUED, RUNNING)
SCHEDULE = "schedule"
BACKFILL = "backfill"
SUCCEEDED = "succeeded"
HAND = "hand"
CANCELLED = "cancelled"
LOST = "lost"

# As `duck.services.automations.engines.rows` reads them.
COLUMNS = tuple(field.name for field in Run._meta.concrete_fields if field.name != "once")
# How many names or numbers one statement holds.
_CHUNK = 500
_PRUNED_AT_ONCE = 5_000
_ATTEMPTS = 3
# As long as `duck.services.automations.engine` has it: a silent node is known, and what was said once.
_KEPT_NODE_US = 86_400_000_000
_KEPT_TOLD_US = 90 * 86_400_000_000
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


def _retried(method: _F) -> _F:
    """Again, where two transactions were in each other's way and this one was undone."""

    @functools.wraps(method)
    def wrapper(self: Store, *args: Any, **kwargs: Any) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return method(self, *args, **kwargs)
            except OperationalError as error:
                if attempt == _ATTEMPTS - 1 or self.connection.in_atomic_block or not _is_conflict(error):
                    raise
        raise AssertionError

    return wrapper  # type: ignore[return-value]


class Store:
    """The tables, in the database `using`; by default the one that the project's routers name. For one thread."""

    def __init__(self, using: str | None = None) -> None:
        self.using = using or router.db_for_write(Run)
        self._declared: dict[str, Sequence[Any]] | None = None
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

    # -- planned times --------------------------------------------------------------------------------------------

    @_retried
    def register(self, declared: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
        """Know these, each a name and a revision; revision, since and paused_until of each.

        Raises:
            Refused: this database takes two of the names for one.
        """
        now = self.now()
        wanted = {name: revision for name, revision in declared}
        self._check_names(wanted)
        with self._change():
            known = {each.name: each for each in self._automations()}
            new = [
                Automation(name=name, revision=revision, since=now)
                for name, revision in wanted.items()
                if name not in known
            ]
            self._automations().bulk_create(new, batch_size=_CHUNK, ignore_conflicts=True)
            changed = sorted(name for name, each in known.items() if wanted.get(name, each.revision) != each.revision)
            for name in changed:
                self._automations().filter(name=name).update(revision=wanted[name], since=now)
        return {name: standing for name, standing in self.standings().items() if name in wanted}

    def _check_names(self, wanted: Iterable[str]) -> None:
        if self.connection.vendor != "mysql":
            return
        folded: dict[str, str] = {}
        for name in [*wanted, *self._automations().values_list("name", flat=True)]:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                raise Refused(
                    f"The automations {other!r} and {name!r} have one name to this database, which does not tell"
                    " capital letters from small ones; rename one."
                )

    @_retried
    def claim(self, dues: Sequence[dict[str, Any]], node: str = "") -> list[dict[str, Any]]:
        """Insert the rows of planned times; the rows that were won.

        Args:
            dues: `name`, `revision`, `overlap`, `planned`, `runs`, `reason`, `missed`, and whether each node has one of
                its own (`each`), which is then that of `node`.
        """
        now = self.now()
        names = sorted({due["name"] for due in dues})
        with self._change():
            stand = {each.name: each for part in _parts(names) for each in self._lock(self._named(part))}
            there = self._planned(names, {due["planned"] for due in dues})
            batch = _Batch(self._count_open(names), now)
            since: dict[str, int] = {}
            for due in dues:
                automation = stand.get(due["name"])
                if automation is None or automation.revision != due["revision"]:
                    continue
                planned, whose = due["planned"], node if due["each"] else ""
                if not due["each"]:
                    before = since.get(automation.name, automation.since)
                    # Decided on, and perhaps forgotten since; but for a clock that was ahead, and has been put back.
                    if planned <= before <= now:
                        continue
                    since[automation.name] = planned if before > now else max(before, planned)
                key = (automation.name, automation.revision, planned)
                if (*key, whose, SCHEDULE) not in there:
                    there.add((*key, whose, SCHEDULE))
                    told = {**due, "for_node": whose}
                    if due["runs"] and (*key, "", BACKFILL) in there:
                        told |= {"runs": False, "reason": BACKFILLED}
                    if batch.add(told, SCHEDULE):
                        self._replace(automation.name, whose, now)
            won = self._insert(batch.rows)
            self._move(since)
        return [values_of(run) for run in won]

    def _planned(self, names: Sequence[str], planned: set[int]) -> set[tuple[str, str, int, str, str | None]]:
        """Which of these have a row: name, revision, planned, for_node and cause."""
        found: set[tuple[str, str, int, str, str | None]] = set()
        for part in _parts(names):
            for times in _parts(sorted(planned)):
                rows = self._runs().filter(once__isnull=False, name__in=part, planned__in=times)
                found.update(rows.values_list("name", "revision", "planned", "for_node", "once"))
        return found

    def _move(self, since: dict[str, int]) -> None:
        """Note up to when planned times have been decided on; most are the same, and go in one statement."""
        groups: dict[int, list[str]] = {}
        for name, moment in since.items():
            groups.setdefault(moment, []).append(name)
        for moment, names in groups.items():
            for part in _parts(names):
                self._named(part).update(since=moment)

    @_retried
    def enqueue(
        self,
        name: str,
        revision: str,
        overlap: str,
        planned: int,
        cause: str,
        event: str = "",
        missed: int = 0,
        node: str = "",
    ) -> dict[str, Any]:
        """A run that no schedule planned; for `node` alone, where one is named."""
        now = self.now()
        due = {"name": name, "revision": revision, "overlap": overlap, "planned": planned, "missed": missed}
        due |= {"event": event, "runs": True, "for_node": node}
        with self._change():
            if not list(self._lock(self._named([name]))):
                row = Automation(name=name, revision=revision, since=now)
                self._automations().bulk_create([row], ignore_conflicts=True)
            batch = _Batch(self._count_open([name]), now)
            if batch.add(due, cause):
                self._replace(name, node, now)
            (run,) = self._insert(batch.rows)
        return values_of(run)

    @_retried
    def backfill(self, name: str, revision: str, times: Sequence[int]) -> list[dict[str, Any]]:
        """Queue runs for these planned times; the rows that were queued."""
        now = self.now()
        with self._change():
            list(self._lock(self._named([name])))
            done: set[int] = set()
            for part in _parts(times):
                rows = self._runs().filter(name=name, planned__in=part)
                planned = Q(once=SCHEDULE, state__in=(*OPEN, SUCCEEDED))
                rows = rows.filter(planned | Q(once=BACKFILL, revision=revision))
                done.update(rows.values_list("planned", flat=True))
            batch = _Batch(Counter(), now)
            due = {"name": name, "revision": revision, "overlap": "allow", "runs": True, "for_node": "", "missed": 0}
            for planned_for in dict.fromkeys(times):
                if planned_for not in done:
                    batch.add({**due, "planned": planned_for}, BACKFILL)
            queued = self._insert(batch.rows)
        return [values_of(run) for run in queued]

    def _count_open(self, names: Sequence[str]) -> Counter[tuple[str, str, str]]:
        """How many runs of each wait and go on, by name, node that they are for, and state."""
        counts: Counter[tuple[str, str, str]] = Counter()
        columns = ("name", "for_node", "state")
        for part in _parts(names):
            # What is backfilled stands behind all others, and keeps none of them.
            rows = self._runs().filter(name__in=part, state__in=OPEN).exclude(cause=BACKFILL)
            counted = rows.order_by().values_list(*columns).annotate(count=Count("id"))
            counts.update({(name, node, state): count for name, node, state, count in counted})
        return counts

    def _replace(self, name: str, node: str, now: int) -> None:
        self._cancel(Q(name=name, for_node=node) & ~Q(cause=BACKFILL), now, REPLACED)

    def _insert(self, rows: list[Run]) -> list[Run]:
        """Those of `rows` that were not there."""
        if not rows:
            return []
        if self.connection.features.can_return_rows_from_bulk_insert:
            with contextlib.suppress(IntegrityError), transaction.atomic(using=self.using):
                return list(self._runs().bulk_create(rows, batch_size=_CHUNK))
        won = []
        for run in rows:
            run.pk = None
            with contextlib.suppress(IntegrityError), transaction.atomic(using=self.using):
                run.save(using=self.using, force_insert=True)
                won.append(run)
        return won

    @_retried
    def join(self, node: str, ahead_s: float = 0.0, takes_each: bool = True) -> None:
        """`node` is there."""
        values = {"beat": self.now(), "ahead_s": ahead_s, "takes_each": takes_each}
        with self._change():
            if not self._nodes().filter(name=node).update(**values):
                self._nodes().bulk_create([Node(name=node, **values)], ignore_conflicts=True)

    @_retried
    def leave(self, node: str) -> None:
        """`node` ends."""
        with self._change():
            self._nodes().filter(name=node).delete()

    def nodes(self, silent_s: float) -> list[dict[str, Any]]:
        """The rows of those that have said so within so many seconds."""
        return list(self._there(silent_s).order_by("name").values())

    @_retried
    def once(self, key: str) -> bool:
        """Whether nobody has asked this with `key` before."""
        now = self.now()
        row = Told(key=hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), at=now)
        try:
            with self._change():
                row.save(using=self.using, force_insert=True)
        except IntegrityError:
            return False
        return True

    def _nodes(self) -> QuerySet[Node]:
        return Node._default_manager.using(self.using)

    def _there(self, silent_s: float) -> QuerySet[Node]:
        return self._nodes().filter(beat__gte=self.now() - round(silent_s * 1e6))

    # -- runs -----------------------------------------------------------------------------------------------------

    @_retried
    def take(
        self,
        node: str,
        room: dict[str, int],
        declared: dict[str, Sequence[Any]] | None = None,
        held: Sequence[int] | None = None,
        since: int = 0,
    ) -> list[dict[str, Any]] | None:
        """Start queued runs at `node`; their rows. None where it does not know which automations are the node's.

        Args:
            room: how many may start in each lane.
            declared: of each automation of the node its lane, its overlap, how many microseconds a run may be late, and
                how many its time is put off; None for what was told before.
            held, since: where an answer was lost, the runs that the node knows of: others that were given to it since
                then are given again.
        """
        if declared is not None:
            self._declared = declared
        if self._declared is None:
            return None
        now = self.now()
        unheard: list[int] = []
        if held is not None:
            rows = self._runs().filter(state=RUNNING, node=node, started__gte=since).values_list("id", flat=True)
            unheard = [each for each in rows if each not in set(held)]
        chosen = self._choose(node, now, room, self._declared)
        taken = [*unheard, *(self._start(chosen, node, now) if chosen else ())]
        if not taken:
            return []
        return [
            row for part in _parts(taken) for row in self._runs().filter(id__in=part).order_by("id").values(*COLUMNS)
        ]

    def _choose(self, node: str, now: int, room: dict[str, int], declared: dict[str, Sequence[str]]) -> list[_Chosen]:
        """What may start, in order; no row is locked, and nearly always there is none."""
        left = {lane: count for lane, count in room.items() if count > 0}
        chosen: list[_Chosen] = []
        busy: set[tuple[str, str]] | None = None
        last = Case(When(cause=BACKFILL, then=Value(1)), default=Value(0))
        waiting = self._runs().filter(state=QUEUED, not_before__lte=now, for_node__in=("", node))
        waiting = waiting.order_by(last, "not_before", "planned", "id")
        columns = ("id", "name", "for_node", "planned", "cause", "attempt")
        start = 0
        while left:
            page = list(waiting.values_list(*columns)[start : start + _CHUNK])
            if page and busy is None:
                busy = set(self._runs().filter(state=RUNNING).order_by().values_list("name", "for_node").distinct())
            for run_id, name, whose, planned, cause, attempt in page:
                lane, overlap, most_us, delay_us = declared.get(name, ("", "", 0, 0))
                if left.get(lane, 0) <= 0:
                    continue
                late_us = now - planned - delay_us
                if cause == SCHEDULE and attempt == 0 and late_us > most_us:
                    chosen.append(_Chosen(run_id, name, whose, True, late_us / 1e6))
                    continue
                if overlap != "allow" and busy is not None and (name, whose) in busy:
                    continue
                chosen.append(_Chosen(run_id, name, whose, overlap == "allow"))
                left[lane] -= 1
                if left[lane] == 0:
                    del left[lane]
                if busy is not None:
                    busy.add((name, whose))
            if len(page) < _CHUNK:
                break
            start += _CHUNK
        return chosen

    def _start(self, chosen: Sequence[_Chosen], node: str, now: int) -> list[int]:
        """Of what was chosen, those that nobody else has begun meanwhile."""
        alone = sorted({each.name for each in chosen if not each.allows})
        done: list[int] = []
        with self._change():
            free: set[str] = set()
            for part in _parts(alone):
                free.update(self._lock(self._named(part), skips=True).values_list("name", flat=True))
            busy: set[tuple[str, str]] = set()
            for part in _parts(sorted(free)):
                busy.update(self._runs().filter(state=RUNNING, name__in=part).values_list("name", "for_node"))
            for each in chosen:
                if each.late_s is not None:
                    values = {"state": SKIPPED, "reason": missed_beyond(each.late_s), "ended": now}
                    if self._runs().filter(id=each.run, state=QUEUED, attempt=0).update(**values):
                        done.append(each.run)
            ids = [
                each.run
                for each in chosen
                if each.late_s is None
                and (each.allows or (each.name in free and (each.name, each.for_node) not in busy))
            ]
            for numbers in _parts(ids):
                rows = self._runs().filter(id__in=numbers, state=QUEUED, not_before__lte=now).order_by("id")
                mine = list(self._lock(rows, skips=True).values_list("id", flat=True))
                self._runs().filter(id__in=mine).update(
                    state=RUNNING, node=node, attempt=F("attempt") + 1, started=now, beat=now
                )
                done += mine
        return done

    @_retried
    def beat(
        self,
        node: str,
        runs: Sequence[int],
        told: Sequence[Sequence[str]] = (),
        printed: Sequence[Sequence[Any]] = (),
    ) -> list[int]:
        """These runs go on at `node`; those of them that are to end.

        Args:
            told: name, facts and coming times of automations, for people.
            printed: of runs that have printed more, the id, the end of it, and how many characters it was in all.
        """
        now = self.now()
        with self._change():
            for name, facts, coming in told:
                self._named([name]).update(facts=facts, coming=coming, told=now)
            own = self._runs().filter(id__in=runs, state=RUNNING, node=node)
            own.update(beat=now)
            for run_id, text, count in printed:
                own.filter(id=run_id).update(output=_clean(text), printed=count)
            go_on = set(own.filter(cancels=False).values_list("id", flat=True))
        return [each for each in runs if each not in go_on]

    @_retried
    def finish(
        self,
        run: int,
        node: str,
        attempt: int,
        state: str,
        reason: str,
        code: int | None,
        output: str,
        retry_at: int | None = None,
        again: bool = False,
        printed: int = 0,
    ) -> bool:
        """How a run ended; whether it was still the node's to say.

        Args:
            again: the answer was lost the time before: what was said then is said.
        """
        now = self.now()
        whose = self._runs().filter(id=run, node=node, attempt=attempt)
        values: dict[str, Any] = {"reason": _clean(reason), "code": code, "output": _clean(output), "printed": printed}
        over = {"state": CANCELLED if state == QUEUED else state, "ended": now}
        with self._change():
            (is_to_end,) = self._lock(whose.filter(state=RUNNING)).values_list("cancels").first() or (None,)
            if is_to_end is None:
                return again and whose.filter(state__in=(state, over["state"])).exists()
            ends = {"state": QUEUED, "not_before": retry_at} if retry_at is not None and not is_to_end else over
            whose.update(**values, **ends)
            return True

    def silent(self, silent_s: float) -> list[list[Any]]:
        """Id, name, node, for_node, attempt and cancels of what goes on or waits where nobody spoke for so long."""
        columns = ("id", "name", "node", "for_node", "attempt", "cancels")
        return [list(row) for row in self._silent(silent_s).values_list(*columns)]

    def _silent(self, silent_s: float) -> QuerySet[Run]:
        going_on = Q(state=RUNNING, beat__lt=self.now() - round(silent_s * 1e6))
        is_there = Exists(self._there(silent_s).filter(name=OuterRef("for_node")))
        return self._runs().filter(going_on | (Q(state=QUEUED) & ~Q(for_node="") & ~Q(is_there)))

    @_retried
    def give_up(self, silent_s: float, decided: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """What becomes of runs of silent nodes; the rows, as they are now, of those that are silent still.

        Args:
            decided: id, attempt, reason, and the seconds after which it is tried again; None for what is LOST.
        """
        now = self.now()
        given_up: list[int] = []
        with self._change():
            for run_id, attempt, reason, wait_s in decided:
                if wait_s is None:
                    values = {"state": LOST, "reason": reason, "ended": now}
                else:
                    at = now + round(wait_s * 1e6)
                    values = {"state": QUEUED, "reason": reason, "node": "", "not_before": at}
                if self._silent(silent_s).filter(id=run_id, attempt=attempt).update(**values):
                    given_up.append(run_id)
        return [row for part in _parts(given_up) for row in self._runs().filter(id__in=part).values(*COLUMNS)]

    # -- steering -------------------------------------------------------------------------------------------------

    @_retried
    def cancel(self, run: int) -> bool:
        """Have a run end, or not start; whether it was under way or queued."""
        now = self.now()
        with self._change():
            return self._cancel(Q(id=run), now, CANCELLED) > 0

    def _cancel(self, which: Q, now: int, reason: str) -> int:
        queued = self._runs().filter(which, state=QUEUED).update(state=CANCELLED, reason=reason, ended=now)
        return queued + self._runs().filter(which, state=RUNNING).update(cancels=True, reason=reason)

    @_retried
    def pause(self, name: str, until: int | None) -> None:
        """Plan nothing until then; None for until it is resumed."""
        with self._change():
            self._named([name]).update(paused_until=FOREVER if until is None else until)

    @_retried
    def resume(self, name: str) -> None:
        """Plan again; what was planned meanwhile is passed over."""
        now = self.now()
        with self._change():
            paused = self._named([name]).filter(paused_until__isnull=False)
            paused.filter(since__lt=now).update(since=now)
            paused.update(paused_until=None)

    def paused(self) -> dict[str, int]:
        """Until when automations are paused, by name."""
        return dict(self._automations().filter(paused_until__isnull=False).values_list("name", "paused_until"))

    def standings(self) -> dict[str, list[Any]]:
        """Revision, since and paused_until of each automation."""
        rows = self._automations().values_list("name", "revision", "since", "paused_until")
        return {name: list(rest) for name, *rest in rows}

    def runs(
        self, name: str | None = None, limit: int = 50, state: str | None = None, before: int | None = None
    ) -> list[dict[str, Any]]:
        """Rows of the latest runs, the newest first."""
        rows = self._runs().order_by("-id")
        for column, value in (("name", name), ("state", state), ("id__lt", before)):
            if value is not None:
                rows = rows.filter(**{column: value})
        return list(rows.values(*COLUMNS)[:limit])

    def run(self, run: int) -> dict[str, Any] | None:
        """The row of one run."""
        return self._runs().filter(id=run).values(*COLUMNS).first()

    @_retried
    def prune(self, keep: int, keep_s: float) -> int:
        """Forget runs that are over, older than so many seconds, beyond the latest `keep` of each automation."""
        now = self.now()
        oldest = now - round(keep_s * 1e6)
        with self._change():
            self._nodes().filter(beat__lt=now - _KEPT_NODE_US).delete()
            Told._default_manager.using(self.using).filter(at__lt=now - _KEPT_TOLD_US).delete()
        place = Window(RowNumber(), partition_by=[F("name")], order_by=F("id").desc())
        latest = self._runs().order_by().annotate(place=place).filter(place__lte=keep).values("id")
        old = self._runs().order_by().filter(ended__lt=oldest).exclude(state__in=OPEN)
        gone = list(old.exclude(id__in=latest).values_list("id", flat=True)[:_PRUNED_AT_ONCE])
        for part in _parts(gone):
            with self._change():
                self._runs().filter(id__in=part).delete()
        return len(gone)

    # -- below ----------------------------------------------------------------------------------------------------

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

    def _automations(self) -> QuerySet[Automation]:
        return Automation._default_manager.using(self.using)

    def _named(self, names: Sequence[str]) -> QuerySet[Automation]:
        return self._automations().filter(name__in=names).order_by("name")

    def _runs(self) -> QuerySet[Run]:
        return Run._default_manager.using(self.using)


class _Chosen(NamedTuple):
    """A queued run.

    Attributes:
        allows: that others of its automation go on.
        late_s: where it has waited for too long, so that it is skipped; else None, and it may start.
    """

    run: int
    name: str
    for_node: str
    allows: bool
    late_s: float | None = None


class _Batch:
    """Rows that are to be inserted together: each is admitted in the face of those before it."""

    def __init__(self, counts: Counter[tuple[str, str, str]], now: int) -> None:
        self.rows: list[Run] = []
        self._counts = counts
        self._now = now

    def add(self, due: dict[str, Any], cause: str) -> bool:
        """Add the row of `due`; whether it replaces those that run or wait."""
        name, whose = due["name"], due["for_node"]
        state, reason, replaces = SKIPPED, due.get("reason", ""), False
        if due["runs"]:
            running, queued = self._counts[name, whose, RUNNING], self._counts[name, whose, QUEUED]
            state, reason, replaces = admit(due["overlap"], running, queued)
            if replaces:
                self._counts[name, whose, QUEUED] = 0
                for row in self.rows:
                    if (row.name, row.for_node) == (name, whose) and row.state == QUEUED:
                        row.state, row.reason, row.ended = CANCELLED, REPLACED, self._now
            self._counts[name, whose, state] += 1
        self.rows.append(
            Run(
                name=name,
                revision=due["revision"],
                planned=due["planned"],
                once=cause if cause in (SCHEDULE, BACKFILL) else None,
                cause=cause,
                state=state,
                reason=reason,
                not_before=self._now,
                missed=due["missed"],
                event=_clean(due.get("event", "")),
                created=self._now,
                ended=None if state in OPEN else self._now,
                for_node=whose,
            )
        )
        return replaces


def values_of(run: Run) -> dict[str, Any]:
    """The columns of a row that was just made."""
    return {column: getattr(run, column) for column in COLUMNS}


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _clean(text: str) -> str:
    """What every database takes: none keeps halves of surrogate pairs, and PostgreSQL no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _is_conflict(error: Exception) -> bool:
    cause = error.__cause__
    told = (
        getattr(cause, "sqlstate", None)
        or getattr(cause, "pgcode", None)
        or (getattr(cause, "args", None) or [None])[0]
    )
    return told in _CONFLICTS
