"""Store: what an engine asks of the project's database, through the ORM. Plain values in, plain values out.

A planned time is a unique row: whoever inserts it has claimed it, all others have lost it. Decisions on one automation
are made while its row is locked; what is free to be taken by anybody is passed over where another has locked it. SQLite
has no such locks: there each change begins by a write, which lets one connection change at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet

from ..admission import QUEUED, RUNNING
from ..text import MOST_EVENT, output_of, reason_of, remembered
from .claims import Claims
from .database import CANCELLED, COLUMNS, LOST, digest_of, parts, retried
from .models import FOREVER, Automation, Node, Run, Told
from .pruning import Pruning
from .taking import Taking


class Store(Claims, Taking, Pruning):
    """All of it."""

    @retried
    def join(self, node: str, ahead_s: float = 0.0, takes_each: bool = True) -> None:
        """`node` is there."""
        with self._change() as now:
            values = {"beat": now, "ahead_s": ahead_s, "takes_each": takes_each}
            if not self._nodes().filter(name=node).update(**values):
                self._nodes().bulk_create([Node(name=node, **values)], ignore_conflicts=True)

    @retried
    def leave(self, node: str) -> None:
        """`node` ends."""
        with self._change():
            self._nodes().filter(name=node).delete()

    def nodes(self, silent_s: float) -> list[dict[str, Any]]:
        """The rows of those that have said so within so many seconds."""
        return list(self._there(silent_s).order_by("name").values())

    @retried
    def once(self, key: str) -> bool:
        """Whether nobody has asked this with `key` before."""
        try:
            with self._change() as now:
                Told(key=digest_of(key), at=now).save(using=self.using, force_insert=True)
        except IntegrityError:
            return False
        return True

    @retried
    def beat(
        self,
        node: str,
        runs: Sequence[int],
        told: Sequence[Sequence[str]] = (),
        printed: Sequence[Sequence[Any]] = (),
    ) -> list[int]:
        """These runs go on at `node`; those of them that are to end.

        Args:
            told: name, facts and coming times of automations, for people; the last two empty where they hold still.
            printed: of runs that have printed more, the id, the end of it, and how many characters it was in all.
        """
        with self._change() as now:
            self._tell([(facts, coming, now, name) for name, facts, coming in told if facts])
            for part in parts([name for name, facts, _ in told if not facts]):
                self._named(part).update(told=now)
            own = self._runs().filter(id__in=runs, state=RUNNING, node=node)
            own.update(beat=now)
            for run_id, text, count in printed:
                own.filter(id=run_id).update(output=output_of(text), printed=count)
            go_on = set(own.filter(cancels=False).values_list("id", flat=True))
        return [each for each in runs if each not in go_on]

    def _tell(self, told: Sequence[tuple[str, str, int, str]]) -> None:
        """Facts, coming times, the moment and the name of each: many at a time, which the ORM has no cheap way for."""
        if told:
            quoted = self.connection.ops.quote_name
            columns = ", ".join(f"{quoted(column)} = %s" for column in ("facts", "coming", "told"))
            table = quoted(Automation._meta.db_table)
            with self.connection.cursor() as cursor:
                cursor.executemany(f"UPDATE {table} SET {columns} WHERE {quoted('name')} = %s", told)

    @retried
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
        counts: bool = True,
    ) -> bool:
        """How a run ended; whether it was still the node's to say.

        Args:
            again: the answer was lost the time before: what was said then is said.
            counts: False for an attempt that was none: the next is the same.
        """
        whose = self._runs().filter(id=run, node=node, attempt=attempt)
        values: dict[str, Any] = {"reason": reason_of(reason), "code": code, "output": output_of(output)}
        values["printed"] = printed
        with self._change() as now:
            over = {"state": CANCELLED if state == QUEUED else state, "ended": now}
            mine = self._lock(whose.filter(state=RUNNING)).values_list("cancels", "size").first()
            if mine is None:
                return again and whose.filter(state__in=(state, over["state"])).exists()
            is_to_end, size = mine
            ends = {"state": QUEUED, "not_before": retry_at} if retry_at is not None and not is_to_end else over
            if ends["state"] == QUEUED and not counts:
                ends["attempt"] = attempt - 1
            elif ends is over and (size or 0) > MOST_EVENT:
                values["event"] = remembered(whose.values_list("event", flat=True).get())
            whose.update(**values, **ends)
            return True

    @retried
    def look(self, silent_s: float) -> list[Any]:
        """What `silent` and `paused` give, for one question."""
        goes_on = f"state = '{RUNNING}' AND beat < {{now}} - {round(silent_s * 1e6)}"
        may_be = self._seen(goes_on, f"state = '{QUEUED}' AND for_node <> ''")
        return [self.silent(silent_s) if any(may_be) else [], self.paused()]

    def silent(self, silent_s: float) -> list[list[Any]]:
        """Id, name, node, for_node, attempt and cancels of what goes on or waits where nobody spoke for so long."""
        columns = ("id", "name", "node", "for_node", "attempt", "cancels")
        return [list(row) for row in self._silent(silent_s).values_list(*columns)]

    def _silent(self, silent_s: float) -> QuerySet[Run]:
        going_on = Q(state=RUNNING, beat__lt=self.now() - round(silent_s * 1e6))
        is_there = Exists(self._there(silent_s).filter(name=OuterRef("for_node")))
        return self._runs().filter(going_on | (Q(state=QUEUED) & ~Q(for_node="") & ~Q(is_there)))

    @retried
    def give_up(self, silent_s: float, decided: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """What becomes of runs of silent nodes; the rows, as they are now, of those that are silent still.

        Args:
            decided: id, attempt, reason, and the seconds after which it is tried again, None for what is LOST; and
                whether that attempt counts.
        """
        given_up: list[int] = []
        lost: list[int] = []
        with self._change() as now:
            for run_id, attempt, reason, wait_s, counts in decided:
                rows = self._silent(silent_s).filter(id=run_id, attempt=attempt)
                if wait_s is not None:
                    at = now + round(wait_s * 1e6)
                    values = {"state": QUEUED, "reason": reason, "node": "", "not_before": at}
                    if not counts:
                        values["attempt"] = attempt - 1
                    # Somebody may want it to end since that was decided.
                    if rows.filter(cancels=False).update(**values):
                        given_up.append(run_id)
                        continue
                if rows.update(state=LOST, reason=reason, ended=now):
                    given_up.append(run_id)
                    lost.append(run_id)
            if lost:
                self._forget_events(lost)
        return [row for part in parts(given_up) for row in self._runs().filter(id__in=part).values(*COLUMNS)]

    @retried
    def cancel(self, run: int) -> bool:
        """Have a run end, or not start; whether it was under way or queued."""
        with self._change() as now:
            return self._cancel(Q(id=run), now, CANCELLED) > 0

    @retried
    def pause(self, name: str, until: int | None) -> None:
        """Plan nothing until then; None for until it is resumed."""
        with self._change():
            self._named([name]).update(paused_until=FOREVER if until is None else until)

    @retried
    def resume(self, name: str) -> None:
        """Plan again; what was planned meanwhile is passed over."""
        with self._change() as now:
            paused = self._named([name]).filter(paused_until__isnull=False)
            paused.filter(since__lt=now).update(since=now)
            paused.update(paused_until=None)

    def paused(self) -> dict[str, int]:
        """Until when automations are paused, by name."""
        return dict(self._automations().filter(paused_until__isnull=False).values_list("name", "paused_until"))

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
