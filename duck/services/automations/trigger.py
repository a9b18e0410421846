"""Reads the table of a trigger, as `duck.automation` or `duck.toml` wrote it, and says what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from duck.services.automations.event import EVENTS, Event, read_event
from duck.services.automations.schedule import (
    EPOCH,
    AllSchedule,
    AnySchedule,
    CalendarSchedule,
    CronSchedule,
    DailySchedule,
    ExcludingSchedule,
    Exclusion,
    IntervalSchedule,
    MomentsSchedule,
    Schedule,
)
from duck.settings import kinds

# crontab(5), "nicknames"; `@reboot` is `on = "start"`.
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPANS: Final = ("years", "months", "weeks", "days")
_SHORTEST_S: Final = 1.0
_IN_MONTHS: Final = re.compile(r"\s*[\d.]*\s*(M|mo|mth|months?|y|yr|years?)\s*")
_MONTHS: Final = (
    "months and years are of different lengths, so give a date that they are counted from, such as"
    ' calendar = {months = 1, start = "2026-01-01"}'
)
_FIELDS: Final = "minute, hour, day of month, month, day of week"
KEYS: Final = ("cron", "every", "calendar", "daily_at", "at", "on", "any_of", "all_of", "trigger")
"""One of these is in each table; the others that go with it are read with it."""
# Those that plan times, and hold no other trigger.
TIMES: Final = ("cron", "every", "calendar", "daily_at", "at")


@dataclass(frozen=True, slots=True)
class Plan:
    """A trigger that was read.

    Attributes:
        schedule: None where only events run it.
        zone: whose clocks count, for showing its times.
    """

    schedule: Schedule | None
    events: tuple[Event, ...]
    zone: ZoneInfo


def read_trigger(table: Any, zone: ZoneInfo) -> Plan:
    """The plan of a trigger's table; `zone` counts where it names none.

    Raises:
        ValueError: it cannot be read; the text names the key, its value and what is right.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f'{table!r} is no trigger: give a table such as {{cron = "30 2 * * *"}}')
    found = [key for key in KEYS if key in table]
    if len(found) != 1:
        said = f"{' and '.join(found)} are two triggers; join them in any_of" if found else "no trigger is there"
        raise ValueError(f"{said}: give one of {', '.join(KEYS)}")
    key = found[0]
    if "tz" in table:
        zone = _zone(table["tz"])
    schedule, events = _READERS[key](table, zone)
    _refuse_others(table, (key, "tz", *_BESIDE.get(key, ()), *(_event_keys(table) if key == "on" else ())))
    return Plan(schedule, events, zone)


def plain_duration(said: Any) -> Any:
    """Seconds of a `timedelta`, as settings in Python may have it; anything else as it is."""
    return said.total_seconds() if isinstance(said, timedelta) else said


_Read = tuple[Schedule | None, tuple[Event, ...]]


def _cron(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    said = table["cron"]
    if not isinstance(said, str):
        raise ValueError(f"cron is {said!r}: give a text of five fields ({_FIELDS})")
    line = _NICKNAMES.get(said.strip().lower(), said.strip())
    if line.startswith("@"):
        hint = 'on = "start"' if line == "@reboot" else f"one of {', '.join(_NICKNAMES)}"
        raise ValueError(f'cron is "{said}", which is not known: give {hint}')
    if (count := len(line.split())) != 5:
        fields = "1 field" if count == 1 else f"{count} fields"
        raise ValueError(f'cron is "{said}", which has {fields}: give five ({_FIELDS})')
    _, _, days, months, _ = line.split()
    try:
        times = CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
        if "*" not in (days, months):  # the others all come
            next(times)
    except CronSimError as error:
        raise ValueError(f'cron is "{said}": {str(error).lower()}; crontab(5) says what is right') from None
    except StopIteration:
        raise ValueError(f'cron is "{said}", a day that never comes') from None
    return CronSchedule(line, zone), ()


def _every(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    try:
        seconds = kinds.duration().read(plain_duration(table["every"]), _NOWHERE)
    except ValueError as error:
        right = _MONTHS if _IN_MONTHS.fullmatch(str(table["every"])) else error
        raise ValueError(f"every is {table['every']!r}: {right}") from None
    if seconds < _SHORTEST_S:
        raise ValueError(f"every is {table['every']!r}: give a second or more")
    period = timedelta(seconds=seconds)
    if "start" in table:
        return IntervalSchedule(period, _moment("start", table["start"], zone)), ()
    return IntervalSchedule(period), ()


def _calendar(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    said = table["calendar"]
    if not isinstance(said, Mapping):
        raise ValueError(f'calendar is {said!r}: give a table such as {{weeks = 2, start = "2026-01-05"}}')
    spans = [key for key in _SPANS if key in said]
    if len(spans) != 1:
        told = f"{' and '.join(spans)} are {len(spans)} of them" if spans else "there is none"
        singular = next((key for key in said if f"{key}s" in _SPANS), None)
        hint = f": give {singular}s, if you mean {singular}" if singular is not None and not spans else ""
        raise ValueError(f"calendar needs one of years, months, weeks and days, and {told}{hint}")
    count = said[spans[0]]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10_000:
        raise ValueError(f"calendar.{spans[0]} is {count!r}: give a whole number from 1 to 10000")
    if "start" not in said:
        raise ValueError("calendar needs start, the date from which it is counted")
    _refuse_others(said, (*spans, "at", "start"), "calendar.")
    start, at = _date("calendar.start", said["start"]), _time("calendar.at", said.get("at", "00:00"))
    months = count * {"years": 12, "months": 1}.get(spans[0], 0)
    days = count * {"weeks": 7, "days": 1}.get(spans[0], 0)
    return CalendarSchedule(start, at, zone, months=months, days=days), ()


def _daily_at(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    times = _some("daily_at", table["daily_at"], '"02:30"')
    return DailySchedule(tuple(sorted({_time("daily_at", each) for each in times})), zone), ()


def _at(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    moments = _some("at", table["at"], '"2026-12-24T18:00"')
    return MomentsSchedule(tuple(sorted({_moment("at", each, zone) for each in moments}))), ()


def _on(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    return None, (read_event(table),)


def _any_of(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    plans = _plans("any_of", table, zone)
    schedules = tuple(plan.schedule for plan in plans if plan.schedule is not None)
    schedule = AnySchedule(schedules) if len(schedules) > 1 else schedules[0] if schedules else None
    return schedule, tuple(event for plan in plans for event in plan.events)


def _all_of(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    plans = _plans("all_of", table, zone)
    schedules = [plan.schedule for plan in plans if plan.schedule is not None and not plan.events]
    if len(schedules) < len(plans):
        raise ValueError("all_of holds an event, which plans no time: join events in any_of")
    schedule = AllSchedule(tuple(schedules))
    if not _plans_something(schedule):
        raise ValueError(
            "all_of plans nothing, for its triggers have no time in common: join them in any_of, or change one"
        )
    return schedule, ()


def _excluding(table: Mapping[str, Any], zone: ZoneInfo) -> _Read:
    plan = read_trigger(table["trigger"], zone)
    said = table.get("except", {})
    if not isinstance(said, Mapping):
        raise ValueError(f'except is {said!r}: give a table such as {{weekdays = ["sat", "sun"]}}')
    _refuse_others(said, ("dates", "weekdays", "between"), "except.")
    dates, anniversaries = set(), set()
    for each in _some("except.dates", said.get("dates", []), '"12-25"', least=0):
        if isinstance(each, str) and (match := re.fullmatch(r"(\d\d)-(\d\d)", each)):
            month, day = int(match[1]), int(match[2])
            try:
                date(2024, month, day)  # a leap year
            except ValueError:
                raise ValueError(f'except.dates holds {each!r}: give a day of each year such as "12-25"') from None
            anniversaries.add((month, day))
        else:
            dates.add(_date("except.dates", each, 'a day such as "2026-12-25", or "12-25" for each year'))
    weekdays = {_weekday(each) for each in _some("except.weekdays", said.get("weekdays", []), '"sat"', least=0)}
    between = []
    for pair in _some("except.between", said.get("between", []), '["22:00", "06:00"]', least=0):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f'except.between holds {pair!r}: give pairs such as ["22:00", "06:00"]')
        between.append((_time("except.between", pair[0]), _time("except.between", pair[1])))
    exclusion = Exclusion(plan.zone, frozenset(dates), frozenset(anniversaries), frozenset(weekdays), tuple(between))
    if exclusion.leaves_nothing():
        raise ValueError("except excludes every moment, so nothing would ever run: leave some of it out")
    schedule = ExcludingSchedule(plan.schedule, exclusion) if plan.schedule is not None else None
    if schedule is not None and not _plans_something(replace(schedule, most_hops=_EXCLUDED)):
        raise ValueError("except excludes everything that is planned, so it would never run: leave some of it out")
    return schedule, tuple(event.excluding(exclusion) for event in plan.events)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], ZoneInfo], _Read]]] = {
    "cron": _cron,
    "every": _every,
    "calendar": _calendar,
    "daily_at": _daily_at,
    "at": _at,
    "on": _on,
    "any_of": _any_of,
    "all_of": _all_of,
    "trigger": _excluding,
}
_BESIDE: Final[Mapping[str, tuple[str, ...]]] = {"every": ("start",), "trigger": ("except",)}
_NOWHERE: Final = Path()
# Where all of so many that come first are excluded, all are: more than there are days in four years.
_EXCLUDED: Final = 1500
_BEFORE_ALL: Final = EPOCH - timedelta(microseconds=1)


def _plans_something(schedule: Schedule) -> bool:
    """Whether it has a planned time at all, one that has passed included."""
    try:
        return schedule.after(_BEFORE_ALL) is not None
    except OverflowError:  # none before the year 10000
        return False


def _event_keys(table: Mapping[str, Any]) -> tuple[str, ...]:
    needed, possible = EVENTS[table["on"]]
    return (*needed, *possible)


def _plans(key: str, table: Mapping[str, Any], zone: ZoneInfo) -> list[Plan]:
    return [read_trigger(each, zone) for each in _some(key, table[key], '{every = "1h"}')]


def _some(key: str, said: Any, example: str, *, least: int = 1) -> Sequence[Any]:
    """What `key` lists; one alone may stand without a list."""
    if isinstance(said, str | Mapping | date | time):
        return [said]
    if not isinstance(said, Sequence) or len(said) < least:
        raise ValueError(f"{key} is {said!r}: give a list such as [{example}]")
    return said


def _refuse_others(table: Mapping[str, Any], known: Sequence[str], prefix: str = "") -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{prefix}{key} is not known here: give {', '.join(dict.fromkeys(known))}")


def _zone(said: Any) -> ZoneInfo:
    try:
        return ZoneInfo(said)
    except (OSError, ValueError, TypeError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        pass
    raise ValueError(f'tz is {said!r}, which is no time zone: give a name such as "Europe/Berlin"')


def _moment(key: str, said: Any, zone: ZoneInfo) -> datetime:
    if isinstance(said, str):
        try:
            said = datetime.fromisoformat(said)
        except ValueError:
            pass
    if not isinstance(said, datetime):
        raise ValueError(f'{key} is {_shown(said)}: give a date and a time, such as "2026-12-24T18:00"')
    return said.astimezone(UTC) if said.tzinfo is not None else said.replace(tzinfo=zone).astimezone(UTC)


def _shown(said: Any) -> str:
    """As it was written."""
    return said.isoformat() if isinstance(said, date | time) else repr(said)


def _date(key: str, said: Any, right: str = 'a date such as "2026-01-05"') -> date:
    if isinstance(said, str):
        try:
            said = date.fromisoformat(said)
        except ValueError:
            pass
    if not isinstance(said, date) or isinstance(said, datetime):
        raise ValueError(f"{key} is {_shown(said)}: give {right}")
    return said


def _time(key: str, said: Any) -> time:
    if isinstance(said, str):
        try:
            said = time.fromisoformat(said)
        except ValueError:
            pass
    if not isinstance(said, time) or said.tzinfo is not None:
        raise ValueError(f'{key} is {_shown(said)}: give a time of day such as "02:30"')
    return said


def _weekday(said: Any) -> int:
    short = said[:3].lower() if isinstance(said, str) else ""
    if short not in _WEEKDAYS:
        raise ValueError(f"except.weekdays holds {said!r}: give {', '.join(_WEEKDAYS)}")
    return _WEEKDAYS.index(short)
