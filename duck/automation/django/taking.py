"""Taking: queued runs are started, each by one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Exists, F, OuterRef

from ..admission import QUEUED, RUNNING, SKIPPED, missed_beyond
from .database import BACKFILL, CHUNK, COLUMNS, SCHEDULE, Database, parts, retried
from .models import Run

if TYPE_CHECKING:
    from django.db.models import QuerySet


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
        # Nearly always nothing waits.
        if not self._seen(f"state = '{QUEUED}' AND not_before <= {{now}}")[0] and held is None:
            return []
        now = self.now()
        unheard: list[int] = []
        if held is not None:
            rows = self._runs().filter(state=RUNNING, node=node, started__gte=since).values_list("id", flat=True)
            unheard = [each for each in rows if each not in set(held)]
        chosen = self._choose(node, now, room, self._declared)
        skipped, started = self._start(chosen, node, now) if chosen else ([], [])
        for part in parts([*unheard, *skipped]):
            started += self._runs().filter(id__in=part).values(*COLUMNS)
        return sorted(started, key=lambda row: row["id"])

    def _busy(self) -> Exists:
        """Whether a run of the same automation goes on."""
        same = {"name": OuterRef("name"), "for_node": OuterRef("for_node")}
        return Exists(self._runs().filter(state=RUNNING, **same).order_by())

    def _waiting(self, node: str, now: int, start: int) -> list[tuple[Any, ...]]:
        """Id, name, for_node, planned, cause and attempt of what `node` may take, and whether a run of the same
        automation goes on; in order, a page of it. In plain SQL, for the ORM takes longer to make it than to ask it.
        """
        table = self.connection.ops.quote_name(Run._meta.db_table)
        busy = (
            f"EXISTS(SELECT 1 FROM {table} AS other WHERE other.state = '{RUNNING}' AND other.name = run.name"
            " AND other.for_node = run.for_node)"
        )
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, name, for_node, planned, cause, attempt, {busy} FROM {table} AS run"
                f" WHERE state = '{QUEUED}' AND not_before <= %s AND for_node IN ('', %s)"
                f" ORDER BY CASE WHEN cause = '{BACKFILL}' THEN 1 ELSE 0 END, not_before, planned, id"
                f" LIMIT {CHUNK} OFFSET {start}",
                (now, node),
            )
            return list(cursor.fetchall())

    def _choose(self, node: str, now: int, room: dict[str, int], declared: dict[str, Sequence[Any]]) -> list[_Chosen]:
        """What may start, in order; no row is locked, and nearly always there is none."""
        left = {lane: count for lane, count in room.items() if count > 0}
        chosen: list[_Chosen] = []
        begun: set[tuple[str, str]] = set()
        start = 0
        while left:
            page = self._waiting(node, now, start)
            for run_id, name, whose, planned, cause, attempt, is_busy in page:
                lane, overlap, most_us, delay_us = declared.get(name, ("", "", 0, 0))
                if left.get(lane, 0) <= 0:
                    continue
                late_us = now - planned - delay_us
                if cause == SCHEDULE and attempt == 0 and late_us > most_us:
                    chosen.append(_Chosen(run_id, name, True, late_us / 1e6))
                    continue
                if overlap != "allow" and (is_busy or (name, whose) in begun):
                    continue
                chosen.append(_Chosen(run_id, name, overlap == "allow"))
                left[lane] -= 1
                if left[lane] == 0:
                    del left[lane]
                begun.add((name, whose))
            if len(page) < CHUNK:
                break
            start += CHUNK
        return chosen

    def _start(self, chosen: Sequence[_Chosen], node: str, now: int) -> tuple[list[int], list[dict[str, Any]]]:
        """Of what was chosen, what nobody else has begun meanwhile: ids that were skipped, rows that were started."""
        alone = sorted({each.name for each in chosen if each.late_s is None and not each.allows})
        skipped: list[int] = []
        started: list[dict[str, Any]] = []
        with self._change():
            free: set[str] = set()
            for part in parts(alone):
                free.update(self._lock(self._named(part), skips=True).values_list("name", flat=True))
            for each in chosen:
                if each.late_s is not None:
                    values = {"state": SKIPPED, "reason": missed_beyond(each.late_s), "ended": now}
                    if self._runs().filter(id=each.run, state=QUEUED, attempt=0).update(**values):
                        skipped.append(each.run)
            self._forget_events(skipped)
            waiting = self._runs().filter(state=QUEUED, not_before__lte=now).order_by("id")
            beside = [each.run for each in chosen if each.late_s is None and each.allows]
            for numbers in parts(beside):
                started += self._begin_runs(waiting.filter(id__in=numbers), node, now)
            by_itself = [each.run for each in chosen if each.late_s is None and not each.allows and each.name in free]
            for numbers in parts(by_itself):
                # Another node may have begun one since they were chosen; as the automation is locked, none does now.
                started += self._begin_runs(waiting.filter(~self._busy(), id__in=numbers), node, now)
        return skipped, started

    def _begin_runs(self, rows: QuerySet[Run], node: str, now: int) -> list[dict[str, Any]]:
        """Those of these rows that nobody else has locked, as they are then."""
        mine = list(self._lock(rows, skips=True).values(*COLUMNS))
        if mine:
            values: dict[str, Any] = {"state": RUNNING, "node": node, "started": now, "beat": now}
            these = self._runs().filter(id__in=[row["id"] for row in mine])
            these.update(attempt=F("attempt") + 1, **values)
            for row in mine:
                row |= {"attempt": row["attempt"] + 1, **values}
        return mine


class _Chosen(NamedTuple):
    """A queued run.

    Attributes:
        allows: that others of its automation go on.
        late_s: where it has waited for too long, so that it is skipped; else None, and it may start.
    """

    run: int
    name: str
    allows: bool
    late_s: float | None = None
