"""Pruning: what is over is forgotten, the oldest first, one automation after the other."""

from __future__ import annotations

import time
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from .database import BACKFILL, CHUNK, OPEN, SCHEDULE, Database, retried
from .models import Told

# A dispatcher waits for it: what is left by then goes the next time.
_MOST_S = 2.0
# As long as `duck.services.automations.engine` has it: a silent node is known, and what was said once.
_KEPT_NODE_US = 86_400_000_000
_KEPT_TOLD_US = 90 * 86_400_000_000
_KEPT_MOST = 100_000


class Pruning(Database):
    """What ends for good."""

    def __init__(self, using: str | None = None) -> None:
        super().__init__(using)
        self._pruned = ""  # the last automation that was gone through; none where all were

    @retried
    def prune(self, keep: int, keep_s: float, most: int = _KEPT_MOST) -> int:
        """Forget runs that are over, beyond the latest `keep` of each automation, and older than so many seconds or
        beyond the latest `most`. It goes on the next time where there is much.
        """
        with self._change() as now:
            self._nodes().filter(beat__lt=now - _KEPT_NODE_US).delete()
            Told._default_manager.using(self.using).filter(at__lt=now - _KEPT_TOLD_US).delete()
        before, deadline, pruned = now - round(keep_s * 1e6), time.monotonic() + _MOST_S, 0
        is_round = not self._pruned
        while (page := self._long(keep)) or not is_round:
            if not page:  # it had begun in the middle: from the first one on again
                self._pruned, is_round = "", True
            for name, since, last in page:
                is_whole = True
                if last is not None:
                    beyond = self._beyond(name, since, last, max(keep, most), before, now)
                    count, is_whole = self._forget(beyond, deadline)
                    pruned += count
                if is_whole:
                    self._pruned = name
                if time.monotonic() > deadline:
                    return pruned
        self._pruned = ""
        return pruned

    def _long(self, keep: int) -> list[tuple[str, int, int | None]]:
        """The next automations, in order of their names: name, since, and the latest run that is not among the latest
        `keep`.
        """
        known = self._automations().order_by("name")
        if self._pruned:
            known = known.filter(name__gt=self._pruned)
        place = self._of(OuterRef("name"), keep)
        return list(known.annotate(last=Subquery(place)).values_list("name", "since", "last")[:CHUNK])

    def _of(self, name: Any, place: int) -> Any:
        """The id of one run of an automation, counted from the latest."""
        return self._runs().filter(name=name).order_by("-id").values_list("id", flat=True)[place : place + 1]

    def _beyond(self, name: str, since: int, last: int, most: int, before: int, now: int) -> Any:
        """The ids, in order, of what is to be forgotten of an automation."""
        is_old, much = Q(ended__lt=before), self._of(name, most).first()
        if much is not None:
            is_old |= Q(id__lte=much)
        # Of a planned time that may come again, the row decides.
        undecided = Q(for_node="") if since > now else Q(for_node="", planned__gt=since)
        comes = Q(cause__in=(SCHEDULE, BACKFILL)) & (Q(planned__gt=now) | undecided)
        rows = self._runs().filter(is_old, name=name, id__lte=last).exclude(state__in=OPEN).exclude(comes)
        return rows.order_by("id").values_list("id", flat=True)

    def _forget(self, rows: Any, deadline: float) -> tuple[int, bool]:
        """Forget these, as far as there is time; how many, and whether they were all."""
        forgotten = last = 0
        while numbers := list(rows.filter(id__gt=last)[:CHUNK]):
            with self._change():
                self._runs().filter(id__in=numbers).delete()
            forgotten, last = forgotten + len(numbers), numbers[-1]
            if len(numbers) < CHUNK:
                break
            if time.monotonic() > deadline:
                return forgotten, False
        return forgotten, True
