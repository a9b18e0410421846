"""Taking: queued runs are started, each by one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import Case, F, Value, When

from ..admission import QUEUED, RUNNING, SKIPPED, missed_beyond
from .database import BACKFILL, CHUNK, COLUMNS, SCHEDULE, Database, parts, retried


class Taking(Database):
    """What starts."""

    def __init__(self, using: str | None = None) -> None:
        super().__init__(using)
        self._declared: dict[str, Sequence[Any]] | None = None

    @retried
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
            row for part in parts(taken) for row in self._runs().filter(id__in=part).order_by("id").values(*COLUMNS)
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
            page = list(waiting.values_list(*columns)[start : start + CHUNK])
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
            if len(page) < CHUNK:
                break
            start += CHUNK
        return chosen

    def _start(self, chosen: Sequence[_Chosen], node: str, now: int) -> list[int]:
        """Of what was chosen, those that nobody else has begun meanwhile."""
        alone = sorted({each.name for each in chosen if not each.allows})
        done: list[int] = []
        with self._change():
            free: set[str] = set()
            for part in parts(alone):
                free.update(self._lock(self._named(part), skips=True).values_list("name", flat=True))
            busy: set[tuple[str, str]] = set()
            for part in parts(sorted(free)):
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
            for numbers in parts(ids):
                rows = self._runs().filter(id__in=numbers, state=QUEUED, not_before__lte=now).order_by("id")
                mine = list(self._lock(rows, skips=True).values_list("id", flat=True))
                self._runs().filter(id__in=mine).update(
                    state=RUNNING, node=node, attempt=F("attempt") + 1, started=now, beat=now
                )
                done += mine
        return done


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
