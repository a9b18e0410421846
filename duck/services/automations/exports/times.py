"""Planned times as other schedulers can say them: fields of crontab, with a zone, or why that cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cronsim import CronSim

from duck.services.automations.declaration import EACH
from duck.services.automations.schedule import (
    AnySchedule,
    CalendarSchedule,
    CronSchedule,
    DailySchedule,
    ExcludingSchedule,
    IntervalSchedule,
    MomentsSchedule,
)

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.schedule import Schedule

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_FULL: Final = (range(60), range(24), range(1, 32), range(1, 13), range(7))
# Days of the month, or weekdays: `L` and `LW`, `5L`, `1#2`.
_LAST: Final = CronSim.LAST
_LAST_WEEKDAY: Final = CronSim.LAST_WEEKDAY


class NotSaid(ValueError):
    """A schedule that another scheduler cannot express; the text says what, as part of a sentence."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a line of crontab says, taken apart.

    Attributes:
        minutes, hours, days, months, weekdays: sorted numbers, 0 for Sunday.
        last_days: `L` for the last day of the month, `LW` for its last working day.
        nth_weekdays: weekday and which of the month; -1 for the last.
        both: whether a day has to be one of `days` and one of `weekdays`; where both are given one is enough otherwise.
        zone: the name of the zone.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    zone: str
    last_days: tuple[str, ...] = ()
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    both: bool = True

    @property
    def has_any_day(self) -> bool:
        """Whether days of the month say nothing."""
        return self.days == tuple(_FULL[2]) and not self.last_days

    @property
    def has_any_weekday(self) -> bool:
        """Whether weekdays say nothing."""
        return self.weekdays == tuple(_FULL[4]) and not self.nth_weekdays

    @property
    def expression(self) -> str:
        """As crontab(5) has it, without its extensions.

        Raises:
            NotSaid: it needs them.
        """
        if self.last_days:
            raise NotSaid("the last day of a month")
        if self.nth_weekdays:
            raise NotSaid("a weekday of a certain week of the month")
        if self.both and not self.has_any_day and not self.has_any_weekday:
            raise NotSaid("a day of the month that is a certain weekday, too")
        fields = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        return " ".join(_field(numbers, full) for numbers, full in zip(fields, _FULL, strict=True))


def refuse_each(declaration: Declaration) -> None:
    """Refuse what runs on each node: who starts one run by hand needs nodes that are there.

    Raises:
        NotSaid: see above.
    """
    if declaration.is_for_each:
        raise NotSaid("it runs on each node of Duck")


def tag_notes(declaration: Declaration) -> list[str]:
    """What there is to say of a tag."""
    if declaration.run_on in ("any", EACH):
        return []
    return [f'run_on = "{declaration.run_on}": it is run only where AUTOMATION_TAGS has that.']


def times_of(declaration: Declaration) -> list[Times]:
    """What an automation's planned times are; each is planned by one of them at least.

    Raises:
        NotSaid: they are no fields of crontab.
    """
    if declaration.plan.schedule is None:
        raise NotSaid("it has no planned times" if not declaration.plan.events else "it waits for an event")
    if declaration.plan.events:
        raise NotSaid("it waits for events, besides its planned times")
    return _of(declaration.plan.schedule)


def moments_of(declaration: Declaration, after: datetime) -> list[datetime]:
    """Its moments, where those are all that it has; those that are later."""
    schedule = declaration.plan.schedule
    return [each for each in schedule.moments if each > after] if isinstance(schedule, MomentsSchedule) else []


def _of(schedule: Schedule) -> list[Times]:
    if isinstance(schedule, CronSchedule):
        return [_of_cron(schedule)]
    if isinstance(schedule, IntervalSchedule):
        return [_of_interval(schedule)]
    if isinstance(schedule, DailySchedule):
        return _of_daily(schedule)
    if isinstance(schedule, CalendarSchedule):
        return [_of_calendar(schedule)]
    if isinstance(schedule, AnySchedule):
        return [times for each in schedule.schedules for times in _of(each)]
    if isinstance(schedule, MomentsSchedule):
        raise NotSaid("moments of one year")
    if isinstance(schedule, ExcludingSchedule):
        raise NotSaid("times that `except` leaves out")
    raise NotSaid("times that all triggers of all_of have in common")


def _of_cron(schedule: CronSchedule) -> Times:
    read = CronSim(schedule.expression, datetime(2026, 1, 1, tzinfo=UTC))
    days = sorted(each for each in read.days if isinstance(each, int) and each > 0)
    last = [name for number, name in ((_LAST, "L"), (_LAST_WEEKDAY, "LW")) if number in read.days]
    weekdays = sorted({each % 7 for each in read.weekdays if isinstance(each, int)})
    nth = sorted(
        (each[0] % 7, -1 if each[1] == _LAST else each[1]) for each in read.weekdays if isinstance(each, tuple)
    )
    return Times(
        _numbers(read.minutes),
        _numbers(read.hours),
        tuple(days),
        _numbers(read.months),
        tuple(weekdays),
        schedule.zone.key,
        tuple(last),
        tuple(nth),
        both=_needs_both(schedule.expression),
    )


def _needs_both(expression: str) -> bool:
    """Whether a day has to agree with both fields: where one of them begins with a star (crontab(5))."""
    _, _, days, _, weekdays = expression.split()
    return days.startswith("*") or weekdays.startswith("*")


def _of_interval(schedule: IntervalSchedule) -> Times:
    period = schedule.period
    since = schedule.anchor - datetime(1970, 1, 1, tzinfo=UTC)
    full = [tuple(each) for each in _FULL]
    offset = since % period
    if period < _MINUTE or offset % _MINUTE or period % _MINUTE:
        raise NotSaid(f"each {_said(period)}, which is no whole minute")
    if period <= _HOUR and _HOUR % period == timedelta():
        minutes = tuple(range(offset // _MINUTE, 60, period // _MINUTE))
        return Times(minutes, full[1], full[2], full[3], full[4], "UTC")
    if period <= _DAY and _DAY % period == timedelta() and period % _HOUR == timedelta():
        hours = tuple(range(offset // _HOUR, 24, period // _HOUR))
        return Times((offset % _HOUR // _MINUTE,), hours, full[2], full[3], full[4], "UTC")
    if period == 7 * _DAY:
        day = (schedule.anchor.weekday() + 1) % 7
        return Times((schedule.anchor.minute,), (schedule.anchor.hour,), full[2], full[3], (day,), "UTC")
    raise NotSaid(f"each {_said(period)}, which divides no hour and no day")


def _of_daily(schedule: DailySchedule) -> list[Times]:
    found = []
    full = [tuple(each) for each in _FULL]
    for at in schedule.times:
        if at.second or at.microsecond:
            raise NotSaid(f"{at}, which is no whole minute")
        found.append(Times((at.minute,), (at.hour,), full[2], full[3], full[4], schedule.zone.key))
    return found


def _of_calendar(schedule: CalendarSchedule) -> Times:
    full = [tuple(each) for each in _FULL]
    at, start, zone = schedule.at, schedule.start, schedule.zone.key
    if at.second or at.microsecond:
        raise NotSaid(f"{at}, which is no whole minute")
    minutes, hours = (at.minute,), (at.hour,)
    if schedule.days == 1:
        return Times(minutes, hours, full[2], full[3], full[4], zone)
    if schedule.days == 7:
        return Times(minutes, hours, full[2], full[3], ((start.weekday() + 1) % 7,), zone)
    if schedule.months and 12 % schedule.months == 0 and start.day <= 28:
        months = tuple(
            sorted((start.month - 1 + number * schedule.months) % 12 + 1 for number in range(12 // schedule.months))
        )
        return Times(minutes, hours, (start.day,), months, full[4], zone)
    if schedule.months:
        raise NotSaid(f"each {schedule.months} months on day {start.day}")
    raise NotSaid(f"each {schedule.days} days")


def _numbers(found: Iterable[object]) -> tuple[int, ...]:
    return tuple(sorted(each for each in found if isinstance(each, int)))


def _field(numbers: tuple[int, ...], full: range) -> str:
    """The shortest that says these: `*`, `*/15`, `1-5`, `1,3,9`."""
    if numbers == tuple(full):
        return "*"
    if len(numbers) > 2:
        step = numbers[1] - numbers[0]
        if numbers == tuple(range(numbers[0], numbers[-1] + 1, step)):
            if step == 1:
                return f"{numbers[0]}-{numbers[-1]}"
            # Not for days: a star there would be taken for all of them.
            if numbers[0] == full.start and numbers[-1] + step > full.stop - 1 and full.start == 0 and len(full) > 7:
                return f"*/{step}"
            return f"{numbers[0]}-{numbers[-1]}/{step}"
    return ",".join(map(str, numbers))


def _said(period: timedelta) -> str:
    seconds = period.total_seconds()
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
