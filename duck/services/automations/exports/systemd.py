"""Automations as systemd timers and services: systemd.timer(5), systemd.time(7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from duck.services.automations.exports.export import BESIDE, Command, Export
from duck.services.automations.exports.times import NotSaid, Times, moments_of, refuse_each, tag_notes, times_of
from duck.services.automations.schedule import IntervalSchedule

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration

_WEEKDAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def systemd(declarations: Sequence[Declaration], command: Command, now: datetime, user: str) -> Export:
    """A `duck-NAME.timer` and a `duck-NAME.service` for each.

    Args:
        user: who runs them.
    """
    files: dict[str, str] = {}
    left: list[str] = []
    for declaration in declarations:
        if not declaration.enabled:
            continue
        unit = f"duck-{declaration.name}"  # of characters that units may have
        try:
            refuse_each(declaration)
            triggers, notes = _triggers(declaration, now)
        except NotSaid as why:
            left.append(f"{declaration.name} ({declaration.when}) cannot be said as a timer: {why}.")
            continue
        notes += tag_notes(declaration)
        if declaration.missed == "all":
            notes.append('missed = "all": systemd starts it once for all that was missed.')
        left += [f"{declaration.name}: {note}" for note in notes]
        files[f"{unit}.timer"] = _timer(declaration, triggers, notes)
        files[f"{unit}.service"] = _service(declaration, command, user)
    return Export(files, tuple(left))


def on_calendar(times: Times) -> list[str]:
    """What `OnCalendar=` has for a line of crontab: one, or two where either field of days is enough."""
    clock = f"{_list(times.hours, 24)}:{_list(times.minutes, 60)}:00"
    months = _list(times.months, 13, 1)
    found = []
    by_date = not times.has_any_day
    by_weekday = not times.has_any_weekday
    weekdays = ",".join(_WEEKDAYS[each] for each in times.weekdays) if by_weekday else ""
    if "LW" in times.last_days:
        raise NotSaid("the last working day of a month")
    dates = [f"*-{months}-{_list(times.days, 32, 1)}"] if times.days else []
    dates += [f"*-{months}~01"] if "L" in times.last_days else []
    if by_date and by_weekday and times.both:
        if times.nth_weekdays:
            raise NotSaid("a weekday of a certain week that is a certain day, too")
        found = [f"{weekdays} {date}" for date in dates]
    else:
        if by_date or not by_weekday:
            found += dates
        if by_weekday:
            found += [f"{weekdays} *-{months}-*"] if weekdays else []
            for weekday, number in times.nth_weekdays:
                days = "~07/1" if number == -1 else f"-{7 * number - 6:02}..{min(7 * number, 31):02}"
                found.append(f"{_WEEKDAYS[weekday]} *-{months}{days}")
    return [f"{each} {clock} {times.zone}" for each in found]


def _triggers(declaration: Declaration, now: datetime) -> tuple[list[str], list[str]]:
    events = [event.name for event in declaration.plan.events]
    schedule = declaration.plan.schedule
    if events == ["start"] and schedule is None:
        return ["OnActiveSec=0"], []
    moments = moments_of(declaration, now)
    if moments:
        return [f"OnCalendar={each.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" for each in moments], []
    try:
        return [f"OnCalendar={each}" for times in times_of(declaration) for each in on_calendar(times)], []
    except NotSaid:
        if not isinstance(schedule, IntervalSchedule) or declaration.plan.events:
            raise
    seconds = schedule.period.total_seconds()
    note = "the interval is counted from the start of the timer, and from each start of the service, and so drifts."
    return [f"OnActiveSec={seconds:g}s", f"OnUnitActiveSec={seconds:g}s"], [note]


def _timer(declaration: Declaration, triggers: Iterable[str], notes: Iterable[str]) -> str:
    lines = [
        *(f"# {line}" for line in BESIDE),
        *(f"# {note}" for note in notes),
        "",
        "[Unit]",
        f"Description={_description(declaration)}",
        "",
        "[Timer]",
        *triggers,
        "AccuracySec=1s",
        f"Persistent={'false' if declaration.missed == 'skip' else 'true'}",
    ]
    if declaration.jitter_s:
        lines += [
            f"RandomizedDelaySec={timedelta(seconds=declaration.jitter_s).total_seconds():g}s",
            "FixedRandomDelay=true",
        ]
    return "\n".join([*lines, "", "[Install]", "WantedBy=timers.target"]) + "\n"


def _service(declaration: Declaration, command: Command, user: str) -> str:
    lines = [
        "[Unit]",
        f"Description={_description(declaration)}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={user}",
        f"WorkingDirectory={_escaped(str(command.directory))}",
        f"ExecStart={' '.join(_quoted(each) for each in command.of(declaration.name))}",
        "# Its own timeout is kept by Duck, which asks it to end before it is ended by force.",
        "TimeoutStartSec=infinity",
    ]
    return "\n".join(lines) + "\n"


def _list(numbers: tuple[int, ...], end: int, start: int = 0) -> str:
    if numbers == tuple(range(start, end)):
        return "*"
    if len(numbers) > 2 and numbers == tuple(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]:02}..{numbers[-1]:02}"
    return ",".join(f"{each:02}" for each in numbers)


def _description(declaration: Declaration) -> str:
    return _escaped(declaration.sentence or f"The automation {declaration.name}").replace("\n", " ")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of ExecStart= (systemd.service(5), "command lines")."""
    escaped = _escaped(word).replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(each in word for each in " \t'\"\\;") or not word else escaped
