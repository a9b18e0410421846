"""AutomationClock: which runs there would be, while a test moves the time by hand; no node, no store, no wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from duck.automation.admission import admit
from duck.automation.automation import MARK, Automation, Declared
from duck.services.automations.declaration import read_declaration
from duck.services.automations.due import due
from duck.services.automations.run import State

if TYPE_CHECKING:
    from duck.automation.testing import Ran
    from duck.services.automations.declaration import Declaration

_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One planned time, or one event, and what became of it.

    Attributes:
        planned: in UTC.
        starts: when it starts; None where it does not.
        reason: why it does not.
        missed: how many planned times before it this run stands for.
        ran: what it has done, with `carries_out`.
    """

    name: str
    planned: datetime
    starts: datetime | None
    reason: str = ""
    missed: int = 0
    ran: Ran | None = field(default=None, compare=False)


class AutomationClock:
    """A clock that stands, and the automations that are planned by it.

    Args:
        automations: decorated functions, or `Automation` objects by their names or as they are.
        at: what it shows first; ISO 8601, in `tz` where it names no offset.
        tz: whose clocks count where a trigger names no zone.
        lasting: how long runs take, by the automation's name; no time by default.
        carries_out: run them for real, by `run_for_test`.

    Raises:
        SettingsError: a declaration cannot be used.
    """

    def __init__(
        self,
        *automations: Callable[..., Any] | Automation,
        at: datetime | str,
        tz: str = "UTC",
        lasting: Mapping[str, timedelta] | None = None,
        carries_out: bool = False,
    ) -> None:
        self._zone = ZoneInfo(tz)
        self.now = self._moment(at)
        self._lasting = dict(lasting or {})
        self._carries_out = carries_out
        self._declared: dict[str, tuple[Declaration, Callable[..., Ran]]] = {}
        self._since: dict[str, datetime] = {}
        self._ends: dict[str, list[tuple[datetime, datetime]]] = {}  # start and end of runs
        for each in automations:
            self._add(each)

    def _add(self, automation: Callable[..., Any] | Automation) -> None:
        mark = getattr(automation, MARK, None)
        if isinstance(mark, Declared):
            report, runs = mark.report(), mark.run_for_test
        elif isinstance(automation, Automation):
            place = f"{type(automation).__module__}:{type(automation).__qualname__}"
            report, runs = automation.report(place, place), automation.run_for_test
        else:
            raise TypeError(f"{automation!r} is no automation: decorate it with @automation")
        # It is called as it is here: one that a test has made has no name that could be imported.
        table = {**report["table"], "call": "rehearsed.run"}
        declaration = read_declaration(report["name"], table, report["origin"], self._zone)
        self._declared[declaration.name] = (declaration, runs)
        self._since[declaration.name] = self.now
        self._ends[declaration.name] = []

    # -- time -----------------------------------------------------------------------------------------------------

    def move(self, **by: float) -> list[Rehearsed]:
        """Let so much time pass (`days`, `hours`, `minutes`, `seconds`): what has become due meanwhile, in order."""
        return self.move_to(self.now + timedelta(**by))

    def move_to(self, moment: datetime | str) -> list[Rehearsed]:
        """Let time pass until `moment`: what has become due meanwhile, in order.

        Raises:
            ValueError: it is earlier than now.
        """
        until = self._forward(moment)
        found: list[Rehearsed] = []
        while len(found) < _MOST and (following := self._following()) is not None and following <= until:
            self.now = max(self.now, following)
            found += self._due()
        self.now = until
        return found

    def sleep(self, **by: float) -> list[Rehearsed]:
        """Let so much time pass while no node is there: what becomes of the times that were missed."""
        self.now = self._forward(self.now + timedelta(**by))
        return self._due()

    def happens(self, event: str, told: Mapping[str, Any] | None = None, **details: str) -> list[Rehearsed]:
        """Something has happened now: what is run for it, such as for `happens("automation", name=..., outcome=...)`.

        Args:
            told: for `ctx.event`.
            details: as declarations say them.
        """
        return [
            self._decided(declaration, self.now, event=dict(told or {}))
            for declaration, _ in self._declared.values()
            if any(each.is_met(event, details, self.now) for each in declaration.plan.events)
        ]

    # -- below ----------------------------------------------------------------------------------------------------

    def _forward(self, moment: datetime | str) -> datetime:
        until = self._moment(moment)
        if until < self.now:
            raise ValueError(f"the clock shows {self.now.isoformat()} already: time is not moved back")
        return until

    def _following(self) -> datetime | None:
        """When something is due next, jitter included."""
        times = []
        for declaration, _ in self._declared.values():
            schedule = declaration.plan.schedule
            at = schedule.after(self._since[declaration.name]) if schedule is not None and declaration.enabled else None
            if at is not None:
                times.append(at + timedelta(seconds=declaration.delay_s))
        return min(times, default=None)

    def _due(self) -> list[Rehearsed]:
        found = []
        for declaration, _ in self._declared.values():
            if not declaration.enabled:
                continue
            for each in due(declaration, self._since[declaration.name], self.now):
                self._since[declaration.name] = each.planned
                if each.runs:
                    found.append(self._decided(declaration, each.planned, each.missed))
                else:
                    found.append(Rehearsed(declaration.name, each.planned, None, each.reason))
        return sorted(found, key=lambda each: each.planned)

    def _decided(
        self, declaration: Declaration, planned: datetime, missed: int = 0, event: dict[str, Any] | None = None
    ) -> Rehearsed:
        """Whether and when it starts, by what runs and waits then."""
        name = declaration.name
        ends = self._ends[name] = [each for each in self._ends[name] if each[1] > self.now]
        running = sum(1 for start, _ in ends if start <= self.now)
        admission = admit(declaration.overlap, running, len(ends) - running)
        if admission.state == State.SKIPPED:
            return Rehearsed(name, planned, None, admission.reason)
        if admission.replaces:
            ends.clear()
        waits = declaration.overlap != "allow" and ends
        starts = max(end for _, end in ends) if waits else self.now
        ends.append((starts, starts + self._lasting.get(name, timedelta())))
        ran = None
        if self._carries_out:
            ran = self._declared[name][1](scheduled_for=planned, missed=missed, event=event, raises=False)
        return Rehearsed(name, planned, starts, missed=missed, ran=ran)

    def _moment(self, said: datetime | str) -> datetime:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else said
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone)).astimezone(UTC)
