"""What a backfill would do: the planned times of a span, and which of them have run. Pure but for what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from duck.services.automations.run import Cause, State
from duck.services.automations.schedule import resolve

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run

MOST: Final = 10_000
_PAGE: Final = 500
_BEFORE: Final = timedelta(microseconds=1)
_LEFT: Final = (State.QUEUED, State.RUNNING, State.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Planned:
    """One planned time of the span.

    Attributes:
        left: why it is not run again; empty where it is.
    """

    at: datetime
    left: str = ""


def bound_of(said: datetime, zone: ZoneInfo, *, is_end: bool) -> tuple[datetime, str]:
    """The moment that clocks in `zone` show as `said`, and what there is to say of it; empty where it is shown once.

    Of one that they show twice it is the first, or for the end of a span the second; of one that they skip the first
    moment after the gap, for which such times are planned.
    """
    first = resolve(said.date(), said.time(), zone)
    second = said.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if second.astimezone(zone).replace(tzinfo=None) != said:
        taken = f"{first.astimezone(zone):%H:%M}"
        return first, f"clocks in {zone.key} skip {said:%Y-%m-%d %H:%M}; {taken} is taken, for which it is planned"
    if first == second:
        return first, ""
    choices = " or ".join(each.astimezone(zone).isoformat(timespec="minutes") for each in (first, second))
    taken = "second" if is_end else "first"
    shown = f"clocks in {zone.key} show {said:%Y-%m-%d %H:%M} twice; the {taken} is taken, so that both are in the span"
    return second if is_end else first, f"{shown}, and {choices} says which"


def planned_between(declaration: Declaration, first: datetime, last: datetime) -> list[datetime]:
    """Planned times from `first` to `last`, both included.

    Raises:
        ValueError: there are more than MOST.
    """
    schedule = declaration.plan.schedule
    found: list[datetime] = []
    at = schedule.after(first - _BEFORE) if schedule is not None else None
    while schedule is not None and at is not None and at <= last:
        if len(found) == MOST:
            raise ValueError(f"there are more than {MOST} planned times from {first} to {last}: give a shorter span")
        found.append(at)
        at = schedule.after(at)
    return found


def backfill_plan(declaration: Declaration, engine: Engine, first: datetime, last: datetime) -> list[Planned]:
    """What a backfill from `first` to `last` would do, and leave, as the store is now.

    Raises:
        ValueError: see `planned_between`.
        StoreError: the store cannot be read.
    """
    times = planned_between(declaration, first, last)
    reasons: dict[datetime, str] = {}
    before: int | None = None
    while times:
        page = engine.runs(declaration.name, limit=_PAGE, before=before)
        for run in page:
            reason = _leaves(declaration, run)
            if reason:
                reasons[run.planned] = reason
        if len(page) < _PAGE:
            break
        before = page[-1].id
    return [Planned(at, reasons.get(at, "")) for at in times]


def _leaves(declaration: Declaration, run: Run) -> str:
    if run.cause is Cause.BACKFILL and run.revision == declaration.revision:
        return f"run {run.id}, a backfill, {run.state}"
    if run.cause is Cause.SCHEDULE and run.state in _LEFT:
        return f"run {run.id} {run.state}"
    return ""
