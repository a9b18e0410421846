"""Claims: planned times become rows, once each; and runs that no schedule planned."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, Sum

from ..admission import BACKFILLED, QUEUED, REPLACED, RUNNING, SKIPPED, admit, check_room, is_crowded
from ..text import clean, remembered
from .database import (
    BACKFILL,
    CANCELLED,
    CHUNK,
    OPEN,
    SCHEDULE,
    SUCCEEDED,
    Database,
    Refused,
    digest_of,
    parts,
    retried,
    values_of,
)
from .models import Automation, Run


class Claims(Database):
    """What begins."""

    @retried
    def register(self, declared: Sequence[Sequence[str]]) -> dict[str, list[Any]]:
        """Know these, each a name and a revision; revision, since and paused_until of each.

        Raises:
            Refused: this database takes two of the names for one.
        """
        wanted = {name: revision for name, revision in declared}
        self._check_names(wanted)
        with self._change() as now:
            known = {each.name: each for each in self._automations()}
            new = [
                Automation(name=name, revision=revision, since=now)
                for name, revision in wanted.items()
                if name not in known
            ]
            self._automations().bulk_create(new, batch_size=CHUNK, ignore_conflicts=True)
            changed = sorted(name for name, each in known.items() if wanted.get(name, each.revision) != each.revision)
            for name in changed:
                # Another node that has said the same meanwhile plans from its moment on already.
                changes = self._automations().filter(name=name).exclude(revision=wanted[name])
                changes.update(revision=wanted[name], since=now)
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

    @retried
    def claim(self, dues: Sequence[dict[str, Any]], node: str = "") -> list[dict[str, Any]]:
        """Insert the rows of planned times; the rows that were won.

        Args:
            dues: `name`, `revision`, `overlap`, `planned`, `runs`, `reason`, `missed`, and whether each node has one of
                its own (`each`), which is then that of `node`.
        """
        try:
            return self._claim(dues, node, is_careful=False)
        except IntegrityError:  # somebody has inserted one of them without locking its automation
            return self._claim(dues, node, is_careful=True)

    def _claim(self, dues: Sequence[dict[str, Any]], node: str, *, is_careful: bool) -> list[dict[str, Any]]:
        names = sorted({due["name"] for due in dues})
        with self._change() as now:
            stand = {each.name: each for part in parts(names) for each in self._lock(self._named(part))}
            if any(each.since > now for each in stand.values()):
                now = self._look()  # the lock may have been waited for while another decided
            there = self._planned(names, {due["planned"] for due in dues})
            batch = _Batch(*self._count_open(names), now)
            since: dict[str, int] = {}
            for due in dues:
                automation = stand.get(due["name"])
                if automation is None or automation.revision != due["revision"]:
                    continue
                planned, whose = due["planned"], node if due["each"] else ""
                if automation.paused_until is not None and planned < automation.paused_until:
                    continue  # which this node has not seen yet
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
            won = self._insert(batch.rows, is_careful=is_careful)
            self._move(since)
        return [values_of(run) for run in won]

    def _planned(self, names: Sequence[str], planned: set[int]) -> set[tuple[str, str, int, str, str | None]]:
        """Which of these have a row: name, revision, planned, for_node and cause."""
        found: set[tuple[str, str, int, str, str | None]] = set()
        for part in parts(names):
            for times in parts(sorted(planned)):
                rows = self._runs().filter(once__isnull=False, name__in=part, planned__in=times)
                found.update(rows.values_list("name", "revision", "planned", "for_node", "once"))
        return found

    def _move(self, since: dict[str, int]) -> None:
        """Note up to when planned times have been decided on; most are the same, and go in one statement."""
        groups: dict[int, list[str]] = {}
        for name, moment in since.items():
            groups.setdefault(moment, []).append(name)
        for moment, names in groups.items():
            for part in parts(names):
                self._named(part).update(since=moment)

    @retried
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
        occasion: str = "",
    ) -> dict[str, Any]:
        """A run that no schedule planned; for `node` alone, where one is named.

        Args:
            occasion: the run that was queued for it is returned, where there is one.

        Raises:
            Crowded: too much of this automation waits.
        """
        due = {"name": name, "revision": revision, "overlap": overlap, "planned": planned, "missed": missed}
        due |= {"event": event, "runs": True, "for_node": node, "occasion": digest_of(occasion) if occasion else None}
        try:
            return self._enqueue(due, cause)
        except IntegrityError:  # another has just queued it, which this transaction could not see
            return self._enqueue(due, cause)

    def _enqueue(self, due: dict[str, Any], cause: str) -> dict[str, Any]:
        name, node = due["name"], due["for_node"]
        with self._change() as now:
            if not list(self._lock(self._named([name]))):
                row = Automation(name=name, revision=due["revision"], since=now)
                self._automations().bulk_create([row], ignore_conflicts=True)
                list(self._lock(self._named([name])))
            if due["occasion"] is not None:
                known = self._runs().filter(name=name, for_node=node, occasion=due["occasion"]).first()
                if known is not None:
                    return values_of(known)
            batch = _Batch(*self._count_open([name]), now)
            batch.check_room(due)
            if batch.add(due, cause):
                self._replace(name, node, now)
            (run,) = self._insert(batch.rows)
        return values_of(run)

    def crowded(self) -> list[str]:
        """Automations of which so much waits that no more events should come."""
        waiting = self._runs().filter(state=QUEUED).exclude(cause=BACKFILL).order_by()
        counted = waiting.values_list("name", "for_node").annotate(count=Count("id"), kept=Sum("size"))
        return sorted({name for name, _, count, kept in counted if is_crowded(count, kept or 0)})

    @retried
    def backfill(self, name: str, revision: str, times: Sequence[int]) -> list[dict[str, Any]]:
        """Queue runs for these planned times; the rows that were queued."""
        try:
            return self._backfill(name, revision, times, is_careful=False)
        except IntegrityError:
            return self._backfill(name, revision, times, is_careful=True)

    def _backfill(self, name: str, revision: str, times: Sequence[int], *, is_careful: bool) -> list[dict[str, Any]]:
        with self._change() as now:
            list(self._lock(self._named([name])))
            done: set[int] = set()
            for part in parts(times):
                rows = self._runs().filter(name=name, planned__in=part)
                planned = Q(once=SCHEDULE, state__in=(*OPEN, SUCCEEDED))
                rows = rows.filter(planned | Q(once=BACKFILL, revision=revision))
                done.update(rows.values_list("planned", flat=True))
            batch = _Batch(Counter(), Counter(), now)
            due = {"name": name, "revision": revision, "overlap": "allow", "runs": True, "for_node": "", "missed": 0}
            for planned_for in dict.fromkeys(times):
                if planned_for not in done:
                    batch.add({**due, "planned": planned_for}, BACKFILL)
            queued = self._insert(batch.rows, is_careful=is_careful)
        return [values_of(run) for run in queued]

    def _count_open(self, names: Sequence[str]) -> tuple[Counter[tuple[str, str, str]], Counter[tuple[str, str]]]:
        """How many runs of each wait and go on, by name, node that they are for, and state; and how much those that
        wait were told by events.
        """
        counts: Counter[tuple[str, str, str]] = Counter()
        kept: Counter[tuple[str, str]] = Counter()
        columns = ("name", "for_node", "state")
        for part in parts(names):
            # What is backfilled stands behind all others, and keeps none of them.
            rows = self._runs().filter(name__in=part, state__in=OPEN).exclude(cause=BACKFILL)
            counted = rows.order_by().values_list(*columns).annotate(count=Count("id"), kept=Sum("size"))
            for name, node, state, count, size in counted:
                counts[name, node, state] = count
                if state == QUEUED:
                    kept[name, node] = size or 0
        return counts, kept

    def _replace(self, name: str, node: str, now: int) -> None:
        self._cancel(Q(name=name, for_node=node) & ~Q(cause=BACKFILL), now, REPLACED)

    def _insert(self, rows: list[Run], *, is_careful: bool = False) -> list[Run]:
        """Those of `rows` that were not there.

        Args:
            is_careful: try each by itself, which takes three statements for it.

        Raises:
            IntegrityError: one was there, and that is not how it was tried.
        """
        if not rows:
            return []
        if not is_careful:
            if self.connection.features.can_return_rows_from_bulk_insert:
                return list(self._runs().bulk_create(rows, batch_size=CHUNK))
            for run in rows:
                run.save(using=self.using, force_insert=True)
            return rows
        won = []
        for run in rows:
            with contextlib.suppress(IntegrityError), transaction.atomic(using=self.using):
                run.save(using=self.using, force_insert=True)
                won.append(run)
        return won


class _Batch:
    """Rows that are to be inserted together: each is admitted in the face of those before it."""

    def __init__(self, counts: Counter[tuple[str, str, str]], kept: Counter[tuple[str, str]], now: int) -> None:
        self.rows: list[Run] = []
        self._counts = counts
        self._kept = kept
        self._now = now

    def check_room(self, due: dict[str, Any]) -> None:
        """Whether the row of `due`, which no schedule planned, may wait beside those that do.

        Raises:
            Crowded: there is no room.
        """
        name, whose = due["name"], due["for_node"]
        queued, kept = self._counts[name, whose, QUEUED], self._kept[name, whose]
        check_room(name, due["overlap"], queued, kept, len(due["event"]))

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
        event = clean(due.get("event", ""))
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
                event=event if state in OPEN else remembered(event),
                size=len(event),
                created=self._now,
                ended=None if state in OPEN else self._now,
                for_node=whose,
                occasion=due.get("occasion"),
            )
        )
        return replaces
