"""Schedules: planned times, from a trigger and a zone alone.

Each has one question to answer: `after(moment)`, the first planned time later than that one. Moments are aware
datetimes in UTC; nothing here looks at a clock, so every machine plans the same.

Where clocks change, wall-clock schedules do as Debian's cron does (cron(8), "daylight saving time"): a time that clocks
skip is planned at the first moment after the gap, one that they show twice at its first. Lines with a `*` in minute or
hour, and intervals, follow elapsed time.
"""

from __future__ import annotations

import calendar
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_LOOKED_BACK: Final = timedelta(days=36_525)
# Long enough for a 29th of February; dates of single years are none of these, but for somebody who names them all.
_LOOKED_AT: Final = datetime(2101, 1, 1, tzinfo=UTC)
_FOUR_YEARS: Final = timedelta(days=1470)
# How often schedules are asked in search of a time that all agree on, or that no exclusion holds, before there is none.
_MAX_HOPS: Final = 4_000


class Schedule(Protocol):
    """Planned times."""

    def after(self, moment: datetime) -> datetime | None:
        """The first planned time later than `moment`; None where there is none."""


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A line of crontab in a zone; `expression` has five fields that `CronSim` has taken."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        for found in CronSim(self.expression, moment.astimezone(self.zone)):
            # In the hour that clocks show twice, what they show next may have been shown before.
            planned = found.astimezone(UTC)
            if planned > moment:
                return planned
        return None


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Whole periods from `anchor`; nothing before it, where it was given."""

    period: timedelta
    anchor: datetime = EPOCH

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        if moment < self.anchor:
            return self.anchor
        return self.anchor + ((moment - self.anchor) // self.period + 1) * self.period


@dataclass(frozen=True, slots=True)
class DailySchedule:
    """Each day, at some times of day."""

    times: tuple[time, ...]
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        day = moment.astimezone(self.zone).date() - _DAY
        while day < date.max - 2 * _DAY:
            planned = [at for each in self.times if (at := resolve(day, each, self.zone)) > moment]
            if planned:
                return min(planned)
            day += _DAY
        return None


@dataclass(frozen=True, slots=True)
class CalendarSchedule:
    """Each so many months or days after a date, at a time of day."""

    start: date
    at: time
    zone: ZoneInfo
    months: int = 0
    days: int = 0

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        today = moment.astimezone(self.zone).date()
        if self.days:
            number = (today - self.start).days // self.days
        else:
            number = ((today.year - self.start.year) * 12 + today.month - self.start.month) // self.months
        number = max(0, number - 1)
        while True:
            try:
                planned = resolve(self._day(number), self.at, self.zone)
            except OverflowError:
                return None
            if planned > moment:
                return planned
            number += 1

    def _day(self, number: int) -> date:
        if self.days:
            return self.start + timedelta(days=number * self.days)
        month = self.start.month - 1 + number * self.months
        year = self.start.year + month // 12
        if year > date.max.year:
            raise OverflowError
        month = month % 12 + 1
        return date(year, month, min(self.start.day, calendar.monthrange(year, month)[1]))


@dataclass(frozen=True, slots=True)
class MomentsSchedule:
    """Given moments, sorted, each once."""

    moments: tuple[datetime, ...]

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        index = bisect_right(self.moments, moment)
        return self.moments[index] if index < len(self.moments) else None


@dataclass(frozen=True, slots=True)
class AnySchedule:
    """What one of several plans."""

    schedules: tuple[Schedule, ...]

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        return min((at for each in self.schedules if (at := each.after(moment)) is not None), default=None)


@dataclass(frozen=True, slots=True)
class AllSchedule:
    """What all of several plan."""

    schedules: tuple[Schedule, ...]

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        for _ in range(_MAX_HOPS):
            planned = [each.after(moment) for each in self.schedules]
            latest = EPOCH
            for at in planned:
                if at is None:
                    return None
                latest = max(latest, at)
            if all(at == latest for at in planned):
                return latest
            # Nothing that all plan lies before the latest of them.
            moment = latest - _MICROSECOND
        return None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Days and times of day, as clocks in a zone show them.

    Attributes:
        dates: days of one year.
        anniversaries: month and day, of every year.
        weekdays: 0 for Monday.
        between: pairs of times of day; the first is in it and the last is not, which may be earlier: over midnight.
    """

    zone: ZoneInfo
    dates: frozenset[date] = frozenset()
    anniversaries: frozenset[tuple[int, int]] = frozenset()
    weekdays: frozenset[int] = frozenset()
    between: tuple[tuple[time, time], ...] = ()

    def holds(self, moment: datetime) -> datetime | None:
        """Until when `moment` and all that follows is excluded; None where it is not."""
        local = moment.astimezone(self.zone)
        day = local.date()
        if day in self.dates or (day.month, day.day) in self.anniversaries or day.weekday() in self.weekdays:
            return max(resolve(day + _DAY, time(), self.zone), moment + _MICROSECOND)
        now = local.time()
        for first, last in self.between:
            if first <= now < last or (last <= first and (now >= first or now < last)):
                until = day if now < last else day + _DAY
                return max(resolve(until, last, self.zone), moment + _MICROSECOND)
        return None

    def leaves_nothing(self) -> bool:
        """Whether it holds all moments, of each year and day."""
        moment = _LOOKED_AT
        while moment - _LOOKED_AT < _FOUR_YEARS:
            until = self.holds(moment)
            if until is None:
                return False
            moment = until
        return True


@dataclass(frozen=True, slots=True)
class ExcludingSchedule:
    """What a schedule plans, but for some times.

    Attributes:
        most_hops: after how many that are excluded in a row there is none.
    """

    schedule: Schedule
    exclusion: Exclusion
    most_hops: int = _MAX_HOPS

    def after(self, moment: datetime) -> datetime | None:
        """See `Schedule`."""
        for _ in range(self.most_hops):
            planned = self.schedule.after(moment)
            if planned is None:
                return None
            until = self.exclusion.holds(planned)
            if until is None:
                return planned
            moment = until - _MICROSECOND
        return None


def resolve(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The moment at which clocks in `zone` first show `at` on `day`, or the first after the gap that skips it."""
    local = datetime.combine(day, at, tzinfo=zone)
    moment = local.astimezone(UTC)
    while moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        local = (local + timedelta(minutes=1)).replace(second=0, microsecond=0)
        moment = local.astimezone(UTC)
    return moment


def upcoming(schedule: Schedule, moment: datetime, count: int) -> list[datetime]:
    """The first `count` planned times after `moment`."""
    planned: list[datetime] = []
    while len(planned) < count:
        at = schedule.after(planned[-1] if planned else moment)
        if at is None:
            break
        planned.append(at)
    return planned


def missed(schedule: Schedule, since: datetime, now: datetime, most: int) -> list[datetime]:
    """What was planned after `since` up to `now`; where that is more than `most`, the latest of them.

    After a year of sleep nobody counts its seconds: what is looked at is not much longer than what is found.
    """
    span = timedelta(hours=1)
    while True:
        begin = max(since, now - span)
        found: list[datetime] = []
        at = schedule.after(begin)
        while at is not None and at <= now:
            found.append(at)
            at = schedule.after(at)
        if begin == since or len(found) >= most:
            return found[-most:]
        span *= 4


def previous(schedule: Schedule, planned: datetime, count: int = 1) -> datetime | None:
    """The planned time that lies `count` before `planned`, looked for as far back as a century."""
    for _ in range(count):
        before = _before(schedule, planned)
        if before is None:
            return None
        planned = before
    return planned


def _before(schedule: Schedule, planned: datetime) -> datetime | None:
    """The last planned time before `planned`.

    It is asked for each run that starts, so it asks little: mostly a schedule looks back as it does ahead.
    """
    following = schedule.after(planned)
    span = following - planned if following is not None else timedelta(hours=1)
    while True:
        found = schedule.after(planned - span - _MICROSECOND)
        if found is not None and found < planned:
            break
        span *= 4
        if span > _LOOKED_BACK:
            return None
    # None is planned from `empty` on; of those between, each question leaves half.
    empty = planned
    while (following := schedule.after(found)) is not None and following < planned:
        middle = found + (empty - found) / 2
        candidate = schedule.after(middle)
        if candidate is not None and candidate < planned:
            found = candidate
        else:
            found, empty = following, middle
    return found


def oddity(planned: datetime, zone: ZoneInfo) -> str:
    """What is odd about the day of a planned time, in words; empty where clocks run as on others."""
    local = planned.astimezone(zone)
    change = _change_of(local.date(), zone)
    if change is None:
        return ""
    at, forward = change
    hours = abs(forward.total_seconds()) / 3600
    amount = f"{hours:g} h"
    direction = "forward" if forward > timedelta() else "back"
    shown = f"{at:%H:%M}" if at.date() == local.date() else "24:00"
    return f"clocks go {direction} by {amount} at {shown}"


def _change_of(day: date, zone: ZoneInfo) -> tuple[datetime, timedelta] | None:
    """When clocks in `zone` are changed on `day`, as they show it before, and by how much; None where they are not."""
    # A second earlier each: where clocks are changed at midnight, the day that is shorter or longer has the change.
    low = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC) - _SECOND
    high = datetime.combine(day + _DAY, time(), tzinfo=zone).astimezone(UTC) - _SECOND
    before, after = _offset(low, zone), _offset(high, zone)
    if before == after:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) / 2
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    changed = high.replace(microsecond=0)
    return (changed + before).replace(tzinfo=None), after - before


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()
