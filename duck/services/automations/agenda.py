"""Agenda: what is declared here, and which of its planned times come next. Decides on nothing, and asks nobody."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from duck.services.automations.due import Due, due

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Standing


class Agenda:
    """Of one node. Moments are of the store's clock.

    Attributes:
        declared: what is, and is enabled, by name.
        paused: until when automations are, as far as this node has seen.
    """

    def __init__(self) -> None:
        self.declared: dict[str, Declaration] = {}
        self.paused: dict[str, datetime] = {}
        self._since: dict[str, datetime] = {}  # planned times up to then were decided on
        self._next: list[tuple[datetime, str]] = []  # a heap of what is due when, jitter included

    @property
    def next(self) -> tuple[datetime, str] | None:
        """What is due next, and when; None where nothing is planned."""
        return self._next[0] if self._next else None

    def declare(
        self,
        declarations: Sequence[Declaration],
        standings: Mapping[str, Standing],
        paused: Mapping[str, datetime],
        now: datetime,
    ) -> None:
        """These, and no others, from now on, and how they stand."""
        before, since = self.declared, self._since
        self.declared = {each.name: each for each in declarations}
        self.paused = dict(paused)
        # Later than now: of a clock that was ahead when something was claimed, and has been put back since.
        self._since = {name: min(standing.since, now) for name, standing in standings.items()}
        for each in (declaration for declaration in declarations if declaration.is_for_each):
            # Of its own planned times a node knows those that came while it was there.
            known = each.name in before and before[each.name].revision == each.revision
            self._since[each.name] = since[each.name] if known else now
        self._plan_all()

    def come(self, now: datetime) -> list[Declaration]:
        """Those of which something is due; they are to be planned again (`plan`), whatever becomes of it."""
        found: list[Declaration] = []
        while self._next and self._next[0][0] <= now:
            _, name = heapq.heappop(self._next)
            declaration = self.declared.get(name)
            if declaration is not None and name not in self.paused:
                found.append(declaration)
        return found

    def due(self, declaration: Declaration, now: datetime) -> list[Due]:
        """What is to be decided on."""
        return due(declaration, self._since[declaration.name], now)

    def decided(self, dues: Iterable[tuple[Declaration, Due]]) -> None:
        """By this node or another."""
        for declaration, each in dues:
            self._since[declaration.name] = max(self._since[declaration.name], each.planned)

    def plan(self, declarations: Iterable[Declaration]) -> None:
        """Have what comes next of these; nothing while they are paused."""
        for each in declarations:
            schedule = each.plan.schedule
            if schedule is None or each.name in self.paused:
                continue
            at = schedule.after(self._since[each.name])
            if at is not None:
                heapq.heappush(self._next, (at + timedelta(seconds=each.delay_s), each.name))

    def put_back(self, now: datetime) -> None:
        """The clock was. What was decided on for times that are to come again has rows; memory has to follow."""
        self._since = {name: min(since, now) for name, since in self._since.items()}
        self._plan_all()

    def see_pauses(self, paused: Mapping[str, datetime], now: datetime) -> None:
        """Until when automations are paused, as the store has it; what was planned in a pause is passed over."""
        before, self.paused = self.paused, {name: until for name, until in paused.items() if until > now}
        for name in before.keys() - self.paused.keys():
            declaration = self.declared.get(name)
            if declaration is not None:
                self._since[name] = max(self._since[name], min(paused.get(name, now), now))
                self.plan([declaration])

    def _plan_all(self) -> None:
        self._next = []
        self.plan(self.declared.values())
